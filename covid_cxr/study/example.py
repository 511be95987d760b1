"""A study's file with every option, commented: what ``study --example`` prints."""

TEXT = """\
# A study of chest radiographs: what is trained, on what, tested on what. Change the
# lines under [sets.mine] to your data, then
#     python -m covid_cxr study FILE --check    says what is missing or not understood
#     python -m covid_cxr study FILE            trains, probes, and writes the report
# Lines that begin with "# " and a name are options with their defaults, or examples.

name = "mine"                # of the study; its files go to runs/study-mine
label = "covid"              # what is to be told
tests = ["own"]              # test sets: "own", the test part of what is trained on,
                             # and names of sets
# preprocessing = ["none"]   # some of none, equalised, masked (all equalised, and then
                             # all but the lungs black, as published), lungs (all but
                             # the lungs black), lungs-equalised (those equalised)
# side = 64                  # pixels a side, at least 32
# seeds = [0, 1, 2]          # a network for each
# protocol = "fixed"         # or "published", as arXiv 2004.05405 trained, with its own
                             # batch and rate: those below are refused then
# repairs = []               # choices of "published" to take from "fixed": split, crop,
                             # statistics, channel, head, double softmax, focal loss,
                             # optimizer, sampling, trunk, epoch, threshold
# epochs = 10                # passes over the radiographs
# batch = 16                 # radiographs a step
# rate = 0.01                # learning rate
# split_seed = 42            # of the split by patient
# segmenter = "lungs"        # folder of a lung segmentation: OUT of "segment train"
# segment = "missing"        # it draws the lungs of radiographs without a mask, or of
                             # "all": if who has a mask depends on the label, of all
# bias = true                # whether the probes for shortcuts are run
# allow = []                 # overlaps of training and test to let pass: "patients",
                             # "images", "duplicates", "sources", "grouping"
# replicates = 5000          # resamples of the bootstrap by patient
# keep = true                # whether networks are kept, for "predict"

# A set of your own: a folder of PNG, JPEG, GIF or DICOM files, and a table.
[sets.mine]
path = "radiographs"         # the folder; relative paths start at this file's folder
table = "radiographs.csv"    # CSV, TSV or Parquet, a row an image. Without a table:
                             # source = "folders", the folder of an image is its class
# patients = '([^/]+)/'      # without a column for them: finds the patient in the path
                             # of an image; here the name of its first folder
[sets.mine.columns]          # what the table calls them; without a line, the same name
image = "image"              # file, relative to path
patient = "patient"          # "" if no two images are of one patient
label = "label"
# source = "source"          # hospital, machine or collection
# view = "view"              # PA, AP, AP supine; lateral ones are left out
# age = "age"                # years
# sex = "sex"                # M or F
# mask = "mask"              # file of the lung mask
# date = "date"              # of the examination, such as 2020-03-31
[sets.mine.labels.covid]     # how it is spelt, in any case. Other spellings are counted
                             # as unknown and named, and never taken for negative
positive = ["1", "yes", "positive", "covid", "covid-19"]
negative = ["0", "no", "negative", "normal"]
unknown = ["unknown", "?"]
# column = "diagnosis"       # where it stands, if not in the column of the label

# A public set in its own layout, told by its files. More sets: [sets.NAME] again.
# [sets.nih]
# path = "nih"
# source = "auto"            # or its name: nih, covid_chestxray, rsna, kermany,
                             # chexpert, padchest, bimcv_pos, bimcv_neg, corda,
                             # montgomery, shenzhen, jsrt
# uncertain = "ignore"       # of chexpert and mimic_cxr, which must say what an
                             # uncertain label is: or "ones", or "zeros"

# A synthetic set, with shortcuts of known strength.
# [sets.drawn]
# seed = 1
# phantom = { patients = 240, contrast = 0.35, shortcuts = { border = 0.9 } }

[encoders.resnet10]
architecture = "resnet10"    # resnet10, resnet18, resnet34, resnet50, densenet121
width = 8                    # channels of the stem; published networks have 64
# hidden = 0                 # units of a hidden layer before the output; 0: none
# norm = "batch"             # batch, frozen, group
# blocks = [6, 12, 24, 16]   # of densenet121
# classes = 1                # outputs; a study has one

# What comes before: nothing, another label on another set, or a file of weights.
[pretrainings.none]
# [pretrainings.pneumonia]
# set = "nih"
# label = "pneumonia"
# labels = []                # or several, such as ["bacterial", "viral"]: class 0 is
                             # none of them
# epochs = 10
# [pretrainings.imagenet]
# weights = "resnet10.npz"   # torchvision's names; with a set: where stage 1 starts

# What is trained on. kind: target, target+negatives, target+second, second, versus (the
# positives of the target against negatives of the other set, as many of them).
[mixes.mine]
kind = "target"
target = "mine"
# other = "nih"
"""
