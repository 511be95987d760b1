"""Small data folders, written byte for byte in the layouts of the public sets."""

import gzip
import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

MODERN = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,"
    "intubation_present,went_icu,in_icu,needed_supplemental_O2,extubated,temperature,"
    "pO2_saturation,leukocyte_count,neutrophil_count,lymphocyte_count,view,modality,"
    "date,location,folder,filename,doi,url,license,clinical_notes,other_notes,"
)
MARCH = (
    "Patientid,offset,sex,age,finding,survival,view,date,location,filename,doi, url,"
    "license,notes"
)
V2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,"
    "Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,"
    "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def picture(seed: int, shape: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Return a uint8 picture unlike those of other seeds, large forms and small."""
    rng = np.random.default_rng(seed)
    total = np.zeros(shape)
    for cells, share in ((6, 0.7), (18, 0.3)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
        total += share * np.asarray(
            coarse.resize(shape[::-1], Image.Resampling.BICUBIC)
        )
    return total.astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png(seed: int = 0, shape: tuple[int, int] = (48, 40)) -> bytes:
    return encode(picture(seed, shape))


def jpeg(seed: int = 0, shape: tuple[int, int] = (48, 40)) -> bytes:
    return encode(picture(seed, shape), "JPEG", quality=92)


def box_mask(shape: tuple[int, int] = (48, 40)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 255
    return mask


def gif(mask: np.ndarray) -> bytes:
    """Return a palette GIF with the values 0 and 255."""
    return encode(mask, "GIF")


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """Return a whole PNG file whose header promises 3.6 billion pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    signature = b"\x89PNG\r\n\x1a\n"
    parts = chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")
    return signature + b"".join(parts)


def dicom(
    pixels: np.ndarray | None = None,
    *,
    bits: int = 8,
    photometric: str = "MONOCHROME2",
    view: str = "PA",
    sex: str = "F",
    age: str = "043Y",
    spacing: float = 0.168,
    **tags,
) -> bytes:
    """Return an uncompressed DX file; a tag given as None is left out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    pixels = picture(0) if pixels is None else pixels
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["x"])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = "Doe^Jane", "SECRET-1"
    data.Modality, data.ViewPosition, data.PatientSex = "DX", view, sex
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RSNA writes ages without a unit
        data.PatientAge = age
    data.PixelSpacing = [spacing, spacing]
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() + b"\x00" * (pixels.nbytes % 2)
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


# --- one whole small tree a set ----------------------------------------------------


def modern_row(**cells: str) -> str:
    """Return a row of COVID-ChestXRay's later table."""
    base = {
        "view": "PA",
        "modality": "X-ray",
        "folder": "images",
        "sex": "M",
        "age": "54",
        "license": "CC BY",
    }
    cells = base | cells
    return ",".join(
        f'"{cells[name]}"' if "," in cells.get(name, "") else cells.get(name, "")
        for name in MODERN.split(",")
    )


def covid_chestxray(root: Path) -> Path:
    rows = [
        modern_row(patientid="1", finding="Pneumonia/Viral/COVID-19", filename="a.png"),
        modern_row(patientid="2", finding="No Finding", filename="b.jpg", view="AP"),
        modern_row(
            patientid="3",
            finding="Pneumonia/Bacterial/E.Coli",
            filename="c.PNG",
            view="AP Supine",
        ),
    ]
    write(root / "metadata.csv", lines(MODERN, *rows))
    write(root / "images" / "a.png", png(1))
    write(root / "images" / "b.jpg", jpeg(2))
    write(root / "images" / "c.PNG", png(3))
    write(root / "annotations" / "lungs" / "a.png", encode(box_mask()))
    return root


def nih(root: Path) -> Path:
    rows = [
        "00000001_000.png,Cardiomegaly|Pneumonia,0,1,57,M,PA,2682,2749,0.143,0.143",
        "00000001_001.png,No Finding,1,1,58,M,AP,2500,2048,0.168,0.168",
        "00000002_000.png,No Finding,0,2,12,F,PA,2500,2048,0.171,0.168",
    ]
    write(root / "Data_Entry_2017_v2020.csv", lines(V2020, *rows))
    for i, name in enumerate(["00000001_000", "00000001_001", "00000002_000"]):
        write(root / "images" / f"{name}.png", png(i))
    write(root / "test_list.txt", "00000002_000.png\n")
    write(
        root / "BBox_List_2017.csv",
        lines(BOXES, "00000001_000.png,Infiltrate,10.5,20,30,40,,,"),
    )
    return root


def nih_reduced(root: Path) -> Path:
    rows = [
        "no_finding/00000003_000.jpg,00000003_000.png,No Finding,0,3,36,F,PA,2048,"
        "2500,0.168,0.168",
        "pneumonia/00000004_002.jpg,00000004_002.png,Pneumonia|Mass,2,4,60,M,AP,2500,"
        "2048,0.168,0.168",
    ]
    write(root / "metadata.csv", lines(f"file,{V2020}", *rows))
    write(root / "no_finding" / "00000003_000.jpg", jpeg(11))
    write(root / "pneumonia" / "00000004_002.jpg", jpeg(12))
    return root


RSNA_ROWS = (
    "patientId,x,y,width,height,Target",
    "aa,264.0,152.0,213.0,379.0,1",
    "aa,562.0,152.0,256.0,453.0,1",
    "bb,,,,,0",
    "cc,,,,,0",
)
RSNA_CLASSES = (
    "patientId,class",
    "aa,Lung Opacity",
    "aa,Lung Opacity",
    "bb,Normal",
    "cc,No Lung Opacity / Not Normal",
)


def rsna(root: Path) -> Path:
    write(root / "stage_2_train_labels.csv", lines(*RSNA_ROWS))
    write(root / "stage_2_detailed_class_info.csv", lines(*RSNA_CLASSES))
    for i, name in enumerate(("aa", "bb", "cc")):
        view = "AP" if name == "aa" else "PA"
        age = "016Y" if name == "cc" else "50"
        data = dicom(picture(20 + i), view=view, age=age)
        write(root / "stage_2_train_images" / f"{name}.dcm", data)
    return root


def kermany(root: Path) -> Path:
    names = (
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0115-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/person1_virus_6.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
        "test/PNEUMONIA/person1_virus_7.jpeg",
    )
    for i, name in enumerate(names):
        write(root / "chest_xray" / name, jpeg(30 + i))
    return root


def kermany_v3(root: Path) -> Path:
    names = (
        "train/NORMAL/NORMAL-28501-0001.jpeg",
        "train/PNEUMONIA/BACTERIA-40699-0001.jpeg",
        "test/PNEUMONIA/VIRUS-40699-0002.jpeg",
    )
    for i, name in enumerate(names):
        write(root / "CellData" / "chest_xray" / name, jpeg(40 + i))
    return root


def chexpert_row(path: str, side: str = "Frontal,AP", **findings: str) -> str:
    values = [findings.get(n.replace(" ", "_"), "") for n in CHEXPERT.split(",")[5:]]
    return f"CheXpert-v1.0-small/{path},Female,68,{side},{','.join(values)}"


def chexpert(root: Path) -> Path:
    rows = (
        chexpert_row("train/patient00001/study1/view1_frontal.jpg", No_Finding="1.0"),
        chexpert_row("train/patient00002/study2/view1_frontal.jpg", Pneumonia="-1.0"),
        chexpert_row("train/patient00002/study2/view2_lateral.jpg", "Lateral,"),
    )
    write(root / "train.csv", lines(CHEXPERT, *rows))
    valid = chexpert_row("valid/patient64541/study1/view1_frontal.jpg", Pneumonia="0.0")
    write(root / "valid.csv", lines(CHEXPERT, valid))
    for i, row in enumerate((*rows, valid)):
        path = row.split(",")[0].removeprefix("CheXpert-v1.0-small/")
        write(root / path, jpeg(50 + i))
    return root


PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,"
    "PatientSex_DICOM,Projection,Pediatric,Rows_DICOM,Columns_DICOM,MethodLabel,Labels"
)


def padchest(root: Path) -> Path:
    rows = (
        "0,1.png,0,20140915,s1,p1,1930.0,F,PA,No,48,40,Physician,['normal']",
        "1,2.png,0,20140915,s2,p2,2010.0,M,AP_horizontal,PED,48,40,RNN_model,"
        "\"['pneumonia', 'atypical pneumonia']\"",
        "2,3.png,0,20140915,s2,p2,2010.0,M,L,PED,48,40,RNN_model,\"['pneumonia']\"",
    )
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    write(root / name, lines(PADCHEST, *rows))
    for i in (1, 2, 3):
        deep = picture(60 + i).astype(np.uint16) * 257
        write(root / "0" / f"{i}.png", encode(deep))
    return root


def bimcv_film(
    root: Path, person: str, session: str, view: str = "pa", **tags: object
) -> Path:
    name = f"{person}_{session}_run-1_bp-chest_vp-{view}_dx"
    folder = root / person / session / "mod-rx"
    deep = picture(int(person[5:]) * 10 + int(session[5:])).astype(np.uint16) * 16
    path = write(folder / f"{name}.png", encode(deep))
    base = {"00280101": 12, "00280004": "MONOCHROME2", "00101010": "045Y"}
    full = {key: {"vr": "XX", "Value": [v]} for key, v in (base | tags).items()}
    write(folder / f"{name}.json", json.dumps(full))
    return path


def bimcv(root: Path, table: str = "labels_covid19_posi.tsv") -> Path:
    write(
        root / "participants.tsv",
        lines(
            "participant\tmodality_dicom\tage\tgender",
            "sub-S1\t['DX']\t[45]\tM",
            "sub-S2\t['CR']\t16\tF",
        ),
    )
    write(
        root / "derivatives" / "labels" / table,
        lines(
            "PatientID\tReportID\tLabels",
            "sub-S1\tses-E1\t\"['pneumonia'\t 'infiltrates']\"",
            "sub-S1\tses-E2\t['unchanged']",
            "sub-S2\tses-E1\t['normal']",
        ),
    )
    bimcv_film(root, "sub-S1", "ses-E1")
    bimcv_film(root, "sub-S1", "ses-E2", "ap")
    bimcv_film(root, "sub-S2", "ses-E1", "ll")
    return root


def corda_paper(root: Path) -> Path:
    rows = ("1,1,1,CORDA-dataset", "2,0,0,CORDA-dataset", "3,1,0,CORDA-dataset")
    write(root / "CORDA_fix.csv", lines("image_id,covid,rx,dataset", *rows))
    for folder, name in (("RX+-COVID+", 1), ("RX--COVID-", 2), ("RX--COVID+", 3)):
        write(root / folder / f"{name}.png", png(70 + name))
    return root


CORDA = (
    "patient_id,study_number,series_number,modality,sex,age,rx,covid,path,institution"
)


def corda_public(root: Path) -> Path:
    rows = (
        "20,1,1,CR,M,61,1,1,mauriziano/CORDA_M_20,Mauriziano",
        "20,1,1,DX,F,1823,0,0,sanluigi/CORDA_S_20,SanLuigi",
        "21,1,1,DX,,,,1,monzino/CORDA_Z_21,Monzino",
    )
    write(root / "corda.csv", lines(CORDA, *rows))
    write(root / "mauriziano" / "CORDA_M_20", dicom(picture(80)))
    for side in (64, 256):
        path = root / f"{side}x{side}" / "sanluigi" / "CORDA_S_20.png"
        write(path, png(81, (side, side)))
    write(root / "monzino" / "CORDA_Z_21", dicom(picture(82)))
    return root


def montgomery(root: Path) -> Path:
    for i, stem in enumerate(("MCUCXR_0001_0", "MCUCXR_0104_1")):
        write(root / "CXR_png" / f"{stem}.png", png(90 + i))
        for side in ("left", "right"):
            mask = box_mask() if side == "right" else box_mask()[:, ::-1].copy()
            write(root / "ManualMask" / f"{side}Mask" / f"{stem}.png", encode(mask))
        text = "Patient's Sex: F\nPatient's Age: 027Y\nnormal\n"
        write(root / "ClinicalReadings" / f"{stem}.txt", text)
    write(root / "CXR_png" / "Thumbs.db", b"junk")
    return root


def shenzhen(root: Path) -> Path:
    readings = ("male 45yrs\nnormal\n", "Female, 24 months\nPTB\n")
    for i, stem in enumerate(("CHNCXR_0001_0", "CHNCXR_0330_1")):
        grey = picture(100 + i)
        colour = np.repeat(grey[..., None], 3, 2)
        write(root / "CXR_png" / f"{stem}.png", encode(colour))
        write(root / "ClinicalReadings" / f"{stem}.txt", readings[i])
    mask = encode(box_mask())
    write(root / "mask" / "CHNCXR_0001_0_mask.png", mask)
    return root


def img(seed: int) -> bytes:
    """Return a JSRT film: 2048x2048 big-endian words of 12 bits."""
    small = picture(seed, (64, 64)).astype(np.uint16) * 16
    return np.kron(small, np.ones((32, 32), np.uint16)).astype(">u2").tobytes()


def jsrt(root: Path) -> Path:
    write(root / "All247images" / "JPCLN001.IMG", img(110))
    write(root / "All247images" / "JPCNN002.IMG", img(111))
    for fold, stem in ((1, "JPCLN001"), (2, "JPCNN002")):
        for structure in (
            "left lung",
            "right lung",
            "heart",
            "left clavicle",
            "right clavicle",
        ):
            folder = root / "scratch" / f"fold{fold}" / "masks" / structure
            write(folder / f"{stem}.gif", gif(box_mask((1024, 1024))))
    return root


MIMIC = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,"
    "Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,"
    "ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)


def mimic(root: Path) -> Path:
    """Return MIMIC-CXR-JPG's tables, one packed, of four radiographs, one lateral."""
    named = (
        ("aa", "10000032", "50414267", "PA", "postero-anterior"),
        ("bb", "10000032", "50414267", "LATERAL", "lateral"),
        ("cc", "10000764", "57375967", "AP", "antero-posterior"),
        ("dd", "10000898", "50771383", "", "antero-posterior"),
    )
    rows, splits = [], []
    for i, (name, subject, study, view, code) in enumerate(named):
        rows.append(
            f"{name},{subject},{study},CHEST,{view},48,40,2180,1,X,{code},Erect"
        )
        splits.append(f"{name},{study},{subject},{'test' if name == 'cc' else 'train'}")
        place = f"files/p{subject[:2]}/p{subject}/s{study}/{name}.jpg"
        write(root / place, jpeg(200 + i))
    columns = CHEXPERT.split(",")[5:]
    cells = {"50414267": "1.0", "57375967": "-1.0", "50771383": "0.0"}
    found = [
        f"{s},{t},{','.join(cells[t] if c == 'Pneumonia' else '' for c in columns)}"
        for _, s, t, *_ in (named[0], *named[2:])
    ]
    head = f"subject_id,study_id,{','.join(columns)}"
    write(root / "mimic-cxr-2.0.0-metadata.csv", lines(MIMIC, *rows))
    packed = gzip.compress(lines(head, *found).encode())
    write(root / "mimic-cxr-2.0.0-chexpert.csv.gz", packed)
    table = lines("dicom_id,study_id,subject_id,split", *splits)
    write(root / "mimic-cxr-2.0.0-split.csv", table)
    return root


def vindr(root: Path) -> Path:
    """Return VinDr-CXR: a radiograph of three readers, one of their consensus."""
    head = "image_id,rad_id,Aortic enlargement,Nodule/Mass,Pneumonia,Other diseases"
    rows = ("aa,R8,0,1,1,0,0", "aa,R9,0,0,1,0,0", "aa,R10,0,0,1,0,0")
    write(
        root / "annotations/image_labels_train.csv", lines(f"{head},No finding", *rows)
    )
    head = head.replace("rad_id,", "").replace("diseases", "disease")
    test = lines(f"{head},No finding", "bb,0,0,0,0,1")
    write(root / "annotations/image_labels_test.csv", test)
    for i, path in enumerate(("train/aa.dicom", "test/bb.dicom")):
        write(root / path, dicom(picture(210 + i)))
    return root


def siim(root: Path) -> Path:
    """Return SIIM-ACR: one radiograph with two areas, one with none."""
    rows = ("ImageId, EncodedPixels", "1.2.3, 10 5 20 6", "1.2.3, 90 2", "1.2.4, -1")
    write(root / "stage_2_train.csv", lines(*rows))
    for i, name in enumerate(("1.2.3", "1.2.4")):
        place = root / "dicom-images-train" / "study" / "series" / f"{name}.dcm"
        write(place, dicom(picture(220 + i)))
    return root


def covidx(root: Path) -> Path:
    """Return COVIDx with an id of two words, an archive misspelt, and none."""
    train = ("7 a.png positive cohen", "COVID 617 COVID(617).png positive sirm")
    write(root / "train_COVIDx9B.txt", lines(*train, "abc b.png negative rnsa"))
    write(root / "test_COVIDx9B.txt", lines("9 c.jpg negative"))
    for i, name in enumerate(("train/a.png", "train/COVID(617).png", "train/b.png")):
        write(root / name, png(230 + i))
    write(root / "test" / "c.jpg", jpeg(234))
    return root


TREES = {
    "covid_chestxray": covid_chestxray,
    "nih": nih,
    "rsna": rsna,
    "kermany": kermany,
    "chexpert": chexpert,
    "padchest": padchest,
    "bimcv_pos": bimcv,
    "corda": corda_public,
    "montgomery": montgomery,
    "shenzhen": shenzhen,
    "jsrt": jsrt,
    "mimic": mimic,
    "vindr": vindr,
    "siim": siim,
    "covidx": covidx,
}
