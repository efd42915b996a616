"""The built-in exclusions: what is none of ours, tried in this order before any role."""

from __future__ import annotations

from enhancement.dicom.matching.other_scripts import ANGIOGRAPHY, LOCALISER, NOT_BRAIN, REFORMAT, SUBTRACTION
from enhancement.dicom.matching.rule_words import (
    ADC,
    DERIVED,
    DIFFUSION,
    DWI,
    FLAIR,
    T1,
    T1_SEQUENCES,
    T2,
    any_of,
    kind,
    rule,
    text,
)
from enhancement.settings import Condition

EXCLUDE = (
    rule("made by this software", Condition(keyword="OwnOutput", equals="YES")),
    rule("synthetic image", Condition(keyword="SyntheticData", equals="YES"), DERIVED),
    rule("localiser", kind("LOCALIZER")),
    rule(
        "localiser",
        text(
            r"\blocs?\b|\blocator|\bscanogram|\b\d? ?(?:plane|pl) ?loc|locali[sz]|lokali|\bscout|\bsurvey|"
            r"\bsurview|\baa ?h?e?a?d? ?scout|aahead|aahscout|\btri ?plan|\b3 ?plane?s?\b|\b3pl\b|"
            r"\bplan ?scan|topogram|\bpilot|reperage|\brepere|centrat\w*|\bsmart ?brain\b|"
            r"\bsmartplan|\bb?localis"
        ),
    ),
    rule("localiser", text(r"\bplanning\b"), none=(text(T1), text(T1_SEQUENCES), text(T2), text(FLAIR))),
    rule("localiser", text(LOCALISER)),
    rule("angiography", text(ANGIOGRAPHY)),
    rule("subtraction", text(SUBTRACTION)),
    rule("reformat or projection", text(REFORMAT)),
    rule("not the brain", text(NOT_BRAIN)),
    rule(
        "reformat or projection",
        kind("MPR/REFORMATTED/PROJECTION IMAGE/MIP/MNIP/MIN_IP/CSA MPR/VOLREN/THICKMPR/MINIP/CPR"),
    ),
    rule(
        "reformat or projection",
        text(
            r"\bmips?\b|\bminip\b|\bm ?ip\b|\bt ?mip\b|reformat\w*|\brefmt|\breformated|\bref(?:orm)?\b|"
            r"\brfmt\b|\breconstr\w*|\brekonstr\w*|\breko\b|\bricostr\w*|\bvrt?\b|\bsetter\b|\bcurved\b|\bprojection|"
            r"\bcollapse|\bpjn\b"
        ),
    ),
    rule("reformat or projection", text(r"\bmpr\b|\brecon\b"), DERIVED, none=(text(r"\brms\b|vnav"),)),
    rule("fat or opposed-phase image", kind("FAT/IN_PHASE/OUT_PHASE/OPP_PHASE/FAT_FRACTION/OPPOSED_PHASE")),
    rule(
        "fat or opposed-phase image",
        text(
            r"\b(?:m?dixon|ideal|flex|lava)\w*\b.*\b(?:f|fat(?! ?s)|in|opp|out|ip|op)\b|"
            r"\b(?:in|out|opp)(?: of)? ?phase\b|^fat ?:"
        ),
    ),
    rule("subtraction", kind("SUBTRACTION/SUB/SUBTRACT")),
    rule(
        "subtraction",
        text(
            r"\bsub(?:s|tr|trac\w*|trak\w*|str\w*)?\b(?![ -]?\d)|soustract\w*|sottraz\w*|aftrek\w*|\bsustrac\w*|"
            r"\bsubs?\w*trac\w*|\bdifferenz|\bminus\b|\bpost\w* ?- ?pre"
        ),
        none=(text(r"^sub-[a-z0-9]+_"),),  # a subject of BIDS
    ),
    rule("perfusion", kind("PERFUSION/ASL/RCBV/RCBF/MTT/TTP/CBF/CBV/TMAX/PBP/GBP/RELCBF/RELCBV/RELMTT")),
    rule(
        "perfusion",
        text(
            r"perf|\bpwi\b|\bdsc\b|\bdce\b|(?<![a-z])(?:p|pc|c|ps|v|x|3d|3dp|2d)?asl\b|\bpcasl|\bpasl|"
            r"\bcbf\b|\bcbv\b|\br?cbv|\bmtt\b|\bttp\b|\btmax|\bktrans|\bk ?trans\b|permeab|\bdynamic\w*|"
            r"\bdyn\b|\bdynam\w*|\bt1 dyn|\bgrasp\b|\bpbp\b|\bgbp\b|\btransit|\bm0\b"
        ),
    ),
    rule(
        "angiography",
        text(
            r"\btof\b|\btof\w*|\bmra\b|\bmrv\b|angio|veno(?:graf|graph|graff|us)|\bvein\w*|\bvenos\w*|"
            r"\bvenen\b|\barteri\w*|\bpca\b|phase ?contrast|\bpc ?(?:[23]d|a|v|mr)\w*|\b[23]d ?pc\w*\b|"
            r"\btrance\b|\binhance|\btwist\b|\btricks\b|\b4d ?trak|\bwillis\b|\bcarotid|\bcow\b|\bvenc\b|"
            r"\bflow\b(?! ?comp)|\bqflow|\bcine\b|\bcemra\b|\bce ?mrv\b|\bmotsa\b|\bbtof"
        ),
        none=(text(FLAIR),),
    ),
    rule("angiography", Condition(keyword="AngioFlag", equals="Y")),
    rule("angiography", text(r"\bfl3d1r ?_?t\d+"), none=(text(r"\bmp ?rage"),)),  # Siemens' ramped pulse of TOF
    rule("functional MRI", kind("FMRI/BOLD/FUNCTIONAL/T2*_BOLD")),
    rule(
        "functional MRI or its reference",
        text(
            r"\bbold|\bf ?mri\b|\brs ?f|\bfunc\b|functional|\brest\d*\b|\bfc ?mri|\bresting|\btask\b|\bep ?2d ?fid|"
            r"\bepfid|\bsb ?ref\b|\bfinger|\bmotor\b|\btapping|\blanguage\b|\bt ?map\b|\bspm\b|"
            r"\bepi ?(?:rest|func)|\bret ?ino|\bglm\b"
        ),
    ),
    rule(
        "field map",
        text(
            r"\bfield ?map|\bfieldmap\w*|\bfmap|\bfmri?_?b0|b0 ?map|\bb1 ?\+? ?map|\bb1\b|\bgre ?field|"
            r"field ?mapping|\bfm2d|\btopup|distort|\b(?:spin ?echo|se) ?field ?map|\bse ?fm\b|\bshim|\btfl ?b1|"
            r"\bb0 ?field|\bafi\b|\bdream\b"
        ),
    ),
    rule("field map", text(r"^(?:wip )?b0\b"), none=(DIFFUSION, text(DWI))),
    rule(
        "phase or complex image",
        kind("P/PHASE/PHASE MAP/PHASE_MAP/IMAGINARY/PHASE_FFE/PHASE_SE/VELOCITY/B0 MAP/B0/B1/FFE_B1/I/I_FFE"),
        none=(kind("M/MAGNITUDE"),),
    ),
    rule("phase or complex image", text(r"\bphase\b|\bpha\b|\bphs\b|\bpha images|\bimaginary\b|\bunwrap")),
    rule("susceptibility", kind("SWI/QSM/MNIP"), none=(kind("MAGNITUDE"),)),
    rule(
        "susceptibility or T2*",
        text(
            r"\bswi\w*|\bswan\b|\bswip\b|suscept|\bveno ?bold|\bqsm\b|t2 ?\*|\bt2 ?w? ?star|t2 ?stern|"
            r"\bhemo\b|\bhaemo\b|\bmedic\b|\bmerge\b|\bt2s\b|\bgre ?t2|\bt2 ?(?:w ?)?(?:ffe|gre|fl2d|fl3d|"
            r"flash)\b|\bffe ?t2|\bt2 ?hemo|\bfl2d ?t2|\bbsi\b|\bfsbb\b|\bsusc\b|\br2s\b|\br2 ?\*|"
            r"\bmgre\b|\bmulti ?echo gre"
        ),
    ),
    rule(
        "map from diffusion other than ADC",
        kind("FA/EADC/EXP/EXPONENTIAL/COLFA/AD/RD/MD/VR/RA/EIGEN/TENSOR/EADC MAP/TRACE"),
        none=(kind("TRACEW"), Condition(keyword="BValues", at_least=50.0)),
    ),
    rule("diffusion image computed for a b-value that was not measured", kind("CALC_BVALUE/CALC_BVAL/SYNTHETIC_B")),
    rule("diffusion image computed for a b-value that was not measured", text(r"\bcalc\w* ?b ?val\w*")),
    rule(
        "map from diffusion other than ADC",
        text(
            r"\be ?adc\b|\bexp\b|\bexponen\w*|\bfa\b(?! ?\d)|\bfa ?map|\bfract\w* ?an\w*|\bcol(?:our|"
            r"or)? ?fa\b|\bcolfa|\bdec\b|\bdti ?(?:fa|md|ad|rd)\b|\btracto\w*|\bfibre|\bfiber|\bmd\b|"
            r"\beigen\w*|\bmean ?diffusivity|\btensor ?(?:map|trace)\b|\bmk\b|\bkurtosis map|\bd ?star\b|"
            r"\bvol(?:ume)? ratio|\bcmap\b|\bev\d\b"
        ),
    ),
    rule(
        "spectroscopy",
        text(
            r"\bmrs\b|\bmrsi\b|spectro\w*|spektro\w*|\bsvs\b|\bcsi\b|\bpress\b|\bsteam\b|\bprobe ?p\b|"
            r"\bsv ?(?:press|te)\b|\bcho\b|\bnaa\b|\bmega\b"
        ),
    ),
    rule(
        "quantitative or synthetic map",
        text(
            r"\bt1 ?(?:w )?map\w*|\bt2 ?map\w*|\bpd ?map\w*|\bmap ?t[12]\b|\bmolli\b|\bt1 ?rho|"
            r"\br[12] ?map|\bsy ?mri|\bmagic\b|\bmaps?\b|\bmrf\b|finger ?print|"
            r"\bmp2rage\w* ?.*\b(?:inv ?\d|t1 images|t1map)|\binv ?[12]\b|\bt1 images\b|\bmto(?:n|ff)\b|"
            r"\bmtr\b|\bmt ?(?:on|off)\b|\bsynthetic\b|\bsynthe\w*\b|\bcest\b|\bapt\w?\b|\bmre\b|\belasto|"
            r"\bmwf\b|\bmyelin|\bvfa\b.*(?:\bfa ?\d|\d ?deg)|\bqalas\b|\bmdme\b"
        ),
        none=(text(ADC), DIFFUSION),
    ),
    rule(
        "quantitative or synthetic map",
        kind("T1 MAP/T2 MAP/T1_MAP/T2_MAP/R1/R2/R2_STAR MAP/T2_STAR MAP/T2_STAR/PROTON DENSITY MAP/METABOLITE MAP"),
    ),
    rule(
        "calibration",
        text(
            r"\bcalib\w*|\basset ?cal|\bcal\b|\bcoil ?(?:survey|sens)\w*|\bref ?scan|\bsense ?ref|"
            r"\bprescan|\bnoise\b|\bpre ?scan|\badjust\w*|\bbody ?coil"
        ),
    ),
    # A T1 may name the dose of contrast.
    rule("no image of a scan", text(r"\bdose\b"), none=(text(T1), text(T1_SEQUENCES))),
    rule(
        "no image of a scan",
        text(
            r"\bscreen ?(?:save|shot|cap)\w*|\breport\b|\bphoenix|\bsummary\b|\bkey ?images?\b|"
            r"\bresults?\b|\bpostprocess|\bseg(?:mentation)?\b|\boverlay\b|"
            r"\bfus(?:ed|ion)\b"
        ),
    ),
    rule(
        "not the brain",
        text(
            r"\b(?:c|t|l|cervical|thoracic|lumbar|dorsal|total|whole) ?(?:spine|sp)\b|\bspine\b|\bwhole ?body\b|"
            r"\bspinal\b|\bhws\b|\bbws\b|\blws\b|\brachis|\bcolumna|\bcolonna|\bmyelo|\bwervel|\bneck\b|"
            r"\bhals\b|\bknee\b|\bknie\b|\bshoulder|\borbit\w*|\biac\b|\biacs\b|\bcai\b|\bpituit\w*|"
            r"\bhypoph\w*|\bhypofys\w*|\bipofisi\b|\bhipof\w*|\bsella\b|\bsellar|\btmj\b|\bliver\b|"
            r"\bprostat|\bbreast|\bcardiac|\bheart\b|\babdom|\bpelvi|\bhip\b|\bankle|\bwrist|\bcerv\b|"
            r"\bfelsenbein|\bconduit"
        ),
    ),
    rule(
        "not the brain",
        any_of(
            "BodyPartExamined",
            "SPINE",
            "CSPINE",
            "TSPINE",
            "LSPINE",
            "KNEE",
            "SHOULDER",
            "ABDOMEN",
            "PELVIS",
            "BREAST",
            "HIP",
            "ANKLE",
            "WRIST",
            "HEART",
            "PROSTATE",
            "LIVER",
            "CHEST",
            "CTSPINE",
            "TLSPINE",
            "ELBOW",
            "FOOT",
            "HAND",
            "EXTREMITY",
            "SSPINE",
        ),
    ),
    rule(
        "another contrast",
        text(
            r"\be?stir\b|\bfiesta|\bciss(?:3d)?\b|\bci3d\b|\bb?ssfp\b|\btrufi\w*|\btrue ?fisp|\bdess\b|\bfgatir|"
            r"\bneuro ?melanin|\bnot diagnostic\b|\bpsir\b"
        ),
        none=(text(FLAIR),),
    ),
    rule(
        "white matter, grey matter or fluid nulled",
        text(
            r"\bwm ?n(?:ull\w*)?\b|\bwmn\w*|\bwm ?(?:null\w*|supp\w*|attenu\w*|satur\w*)"
            r"|white ?matter ?(?:null|supp|attenu)\w*"
            r"|\bgm ?n\b|\bgm ?(?:null|supp)\w*|gr[ae]y ?matter ?(?:null|supp)\w*|\bflaws\w*|\bwmnp?\b"
            r"|\bthomas\b|\bfgatir\w*"
            r"|\bedge\b|\bflair ?edge|\bcsf ?(?:null|n)\b|\bqsmt1\b"
        ),
        none=(text(FLAIR),),
    ),
    rule(
        "image or map of MP2RAGE other than the uniform one",
        text(
            r"\bmp2rage\w*\b.*\b(?:inv ?\d|t1 ?map|t1 ?images?|r1|pd|b1)\b|\binv ?[12]\b|\bt1 ?images?\b$"
            r"|\bt1 ?map\w*|\bt1 ?maps?\b"
        ),
    ),
    rule(
        "map of T1, T2 or density",
        kind("T1 MAP/T2 MAP/T2_STAR_MAP/R1 MAP/PROTON_DENSITY/DENSITY MAP/T1_MAP/R2_MAP/T2_MAP"),
    ),
    rule(
        "another contrast",
        text(
            r"\bdir\b|double ?inversion|\bdrive\b(?<!tse drive)|\bbtfe\b|\bfast ?gre ?cal|\bnm ?t1|"
            r"\bwhite matter null|\bcsfn\b|\bt2 ?prep|\bpd\b|\bpdw?\w*|\bproton|\bdensity|\bute\b|\bpetra\b|"
            r"\bzte\b|\bbone\b"
        ),
        none=(text(T1), text(T2), text(DWI)),
    ),
    rule(
        "echo-planar without diffusion",
        any_of("ScanningSequence", "EP"),
        none=(DIFFUSION, text(DWI), text(ADC), kind("ADC")),
    ),
)
