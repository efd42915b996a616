"""The built-in rules, as the same data that a site writes in its settings.

Descriptions are matched in their words: lower case, no accents, punctuation as spaces (`words.py`). Order
matters: exclusions first, then per role the first rule that fits; a series that fits two roles is held.
"""

from __future__ import annotations

from typing import Any

from enhancement.settings import Condition, Role, Rule, Rules


def _is(pattern: str) -> Condition:
    return Condition(keyword="Description", matches=pattern)


def _any(keyword: str, *values: str | float) -> Condition:
    return Condition(keyword=keyword, any_of=values)


def _type(kinds: str) -> Condition:
    """Image Type or Frame Type holds one of these values, given with slashes between them."""
    return Condition(keyword="ImageType", any_of=tuple(kinds.split("/")))


def _least(keyword: str, limit: float) -> Condition:
    return Condition(keyword=keyword, at_least=limit)


def _most(keyword: str, limit: float) -> Condition:
    return Condition(keyword=keyword, at_most=limit)


def _rule(name: str, *every: Condition, none: tuple[Condition, ...] = ()) -> Rule:
    return Rule(name=name, all=every, none=none)


_DIFFUSION = Condition(keyword="Diffusion", equals="YES")
_GIVEN = Condition(keyword="Contrast", equals="YES")
_MIXED = Condition(keyword="Orientations", at_least=2)
_DERIVED = _type("DERIVED/SECONDARY")

# --- words -------------------------------------------------------------------------------------------------

_T1 = (
    r"(?<![a-z0-9])(?:[23]d|ax|axi|axial|sag|cor|tra|trans|obl|iso|wip|ir|fl|gre|se|tse|fse|"
    r"w)*t1(?!(?![23]d)[0-9])"
)

_T1_SEQUENCES = (
    r"\bmp ?rage|\bmp2rage|\bbravo\b|\bf?spgr|\bfast spgr|\b3d ?tfe\b|\btfe\b|\btfl|\bvibe|"
    r"\be?thrive\b|\blava\b|\bquick ?3d|\bffe3d|\bir ?prep|\bmpr (?:ns|sag|tra|cor|ax|3d)\b|"
    r"\bturbo ?flash\b|\bir ?spgr|\bgre ?fsp|\bmagic ?prep|\bfast ?3d|\bflash ?3d|"
    r"\b3d ?flash|\bfl3d|\bmemp ?rage|\bme ?mp ?rage|\bincoherent\b"
)
_VARIABLE_FLIP = (
    r"\bcube|\bspace\b|\bspc\b|\bvista\b|\biso ?fse|\bbrain ?view|\b(?:black|dark) ?blood|\bbb\b|"
    r"\bmsde\b|\bmvox\b|\bmatrix\b|\bdante\b|\b3d ?tse\b|\bxeta\b|\bimsde\b|\bmotsa ?bb\b|\bvwi\b|"
    r"\bvessel ?wall"
)
_T2 = (
    r"(?<![a-z0-9])(?:[23]d|ax|axi|axial|sag|cor|tra|trans|obl|iso|wip|se|tse|fse|w|"
    r"frfse)*t2(?!(?![23]d)[0-9]|\*)"
)

_FLAIR = r"flair|dark ?fluid|\bda ?fl\b|\bt2 ?\w* ?tirm\b|\btirm\b|\bt2fl\w*|\bfluid ?att\w*"
_DWI = (
    r"\bdwi\w*|\bdti\w*|\w*diff(?!er)\w*|difus\w*|\bdw\b|\bd ?mri\w*|\bdt ?(?:ssh|high|\d+)\w*|"
    r"\bdt\b|\bhardi\b|\bdsi\b|\bnoddi\b|\btracew?\b|\bresolve\b|\bivim\b|\btensor\b|\bb ?(?:500|"
    r"800|1000|1200|1500|2000|2500|3000)\b|\bdki\b|\bt2w? ?trace\b"
)
_ADC = (
    r"(?<![a-z])(?:iso|d|avg|avg d)?adc(?![a-z])|apparent ?diff\w*|\bdapp\b|\baverage ?dc\b|"
    r"\bavg ?dc\b|\bcda\b"
)


# --- what is none of ours ----------------------------------------------------------------------------------

_EXCLUDE = (
    _rule("made by this software", Condition(keyword="OwnOutput", equals="YES")),
    _rule("synthetic image", Condition(keyword="SyntheticData", equals="YES"), _DERIVED),
    _rule("localiser", _type("LOCALIZER")),
    _rule(
        "localiser",
        _is(
            r"\blocs?\b|\blocator|\bscanogram|\b\d? ?(?:plane|pl) ?loc|locali[sz]|lokali|\bscout|\bsurvey|"
            r"\bsurview|\baa ?h?e?a?d? ?scout|aahead|aahscout|\btri ?plan|\b3 ?plane?s?\b|\b3pl\b|"
            r"\bplanning\b|\bplan ?scan|topogram|\bpilot|reperage|\brepere|centrat\w*|\bsmart ?brain\b|"
            r"\bsmartplan|\bb?localis"
        ),
    ),
    _rule(
        "reformat or projection",
        _type("MPR/REFORMATTED/PROJECTION IMAGE/MIP/MNIP/MIN_IP/CSA MPR/VOLREN/THICKMPR/MINIP/CPR"),
    ),
    _rule(
        "reformat or projection",
        _is(
            r"\bmips?\b|\bminip\b|\bm ?ip\b|\bt ?mip\b|reformat\w*|\brefmt|\breformated|\bref(?:orm)?\b|"
            r"\bvrt?\b|\bsetter\b|\bcurved\b|\bprojection|\bcollapse|\bpjn\b"
        ),
    ),
    _rule("reformat or projection", _is(r"\bmpr\b|\brecon\w*\b"), _DERIVED, none=(_is(r"\brms\b|vnav"),)),
    _rule("fat or opposed-phase image", _type("FAT/IN_PHASE/OUT_PHASE/OPP_PHASE/FAT_FRACTION/OPPOSED_PHASE")),
    _rule(
        "fat or opposed-phase image",
        _is(
            r"\b(?:m?dixon|ideal|flex|lava)\w*\b.*\b(?:f|fat(?! ?s)|in|opp|out|ip|op)\b|"
            r"\b(?:in|out|opp)(?: of)? ?phase\b"
        ),
    ),
    _rule("subtraction", _type("SUBTRACTION/SUB/SUBTRACT")),
    _rule(
        "subtraction",
        _is(
            r"\bsub(?:s|tr|trac\w*|trak\w*|str\w*)?\b|soustract\w*|sottraz\w*|aftrek\w*|\bsustrac\w*|"
            r"\bsubs?\w*trac\w*|\bdifferenz|\bminus\b"
        ),
    ),
    _rule("perfusion", _type("PERFUSION/ASL/RCBV/RCBF/MTT/TTP/CBF/CBV/TMAX/PBP/GBP/RELCBF/RELCBV/RELMTT")),
    _rule(
        "perfusion",
        _is(
            r"perf|\bpwi\b|\bdsc\b|\bdce\b|(?<![a-z])(?:p|pc|c|ps|v|x|3d|3dp|2d)?asl\b|\bpcasl|\bpasl|"
            r"\bcbf\b|\bcbv\b|\br?cbv|\bmtt\b|\bttp\b|\btmax|\bktrans|\bk ?trans\b|permeab|\bdynamic\w*|"
            r"\bdyn\b|\bdynam\w*|\bt1 dyn|\bgrasp\b|\bpbp\b|\bgbp\b|\btransit|\bm0\b"
        ),
    ),
    _rule(
        "angiography",
        _is(
            r"\btof\b|\btof\w*|\bmra\b|\bmrv\b|angio|veno(?:graf|graph|graff|us)|\bvein\w*|\bvenos\w*|"
            r"\bvenen\b|\barteri\w*|\bpca\b|phase ?contrast|\bpc ?(?:[23]d|a|v|mr)\w*|\b[23]d ?pc\w*\b|"
            r"\btrance\b|\binhance|\btwist\b|\btricks\b|\b4d ?trak|\bwillis\b|\bcarotid|\bcow\b|\bvenc\b|"
            r"\bflow\b(?! ?comp)|\bqflow|\bcine\b|\bcemra\b|\bce ?mrv\b|\bmotsa\b|\bbtof"
        ),
        none=(_is(_FLAIR),),
    ),
    _rule("angiography", Condition(keyword="AngioFlag", equals="Y")),
    _rule("functional MRI", _type("FMRI/BOLD/FUNCTIONAL/T2*_BOLD")),
    _rule(
        "functional MRI or its reference",
        _is(
            r"\bbold|\bf ?mri\b|\brs ?f|\bfunc\b|functional|\brest\d*\b|\bfc ?mri|\bresting|\btask\b|\bep ?2d ?fid|"
            r"\bepfid|\bsb ?ref\b|\bfinger|\bmotor\b|\btapping|\blanguage\b|\bt ?map\b|\bspm\b|"
            r"\bepi ?(?:rest|func)|\bret ?ino|\bglm\b"
        ),
    ),
    _rule(
        "field map",
        _is(
            r"\bfield ?map|\bfieldmap\w*|\bfmap|\bfmri?_?b0|b0 ?map|\bb1 ?\+? ?map|\bb1\b|\bgre ?field|"
            r"field ?mapping|\btopup|distort|\b(?:spin ?echo|se) ?field ?map|\bse ?fm\b|\bshim|\btfl ?b1|"
            r"\bb0 ?field|\bafi\b|\bdream\b"
        ),
    ),
    _rule("field map", _is(r"^(?:wip )?b0\b"), none=(_DIFFUSION, _is(_DWI))),
    _rule(
        "phase or complex image",
        _type("P/PHASE/PHASE MAP/PHASE_MAP/IMAGINARY/PHASE_FFE/PHASE_SE/VELOCITY/B0 MAP/B0/B1/FFE_B1/I/I_FFE"),
        none=(_type("M/MAGNITUDE"),),
    ),
    _rule("phase or complex image", _is(r"\bphase\b|\bpha\b|\bphs\b|\bpha images|\bimaginary\b|\bunwrap")),
    _rule("susceptibility", _type("SWI/QSM/MNIP"), none=(_type("MAGNITUDE"),)),
    _rule(
        "susceptibility or T2*",
        _is(
            r"\bswi\w*|\bswan\b|\bswip\b|suscept|\bveno ?bold|\bqsm\b|t2 ?\*|\bt2 ?w? ?star|t2 ?stern|"
            r"\bhemo\b|\bhaemo\b|\bmedic\b|\bmerge\b|\bt2s\b|\bgre ?t2|\bt2 ?(?:w ?)?(?:ffe|gre|fl2d|fl3d|"
            r"flash)\b|\bffe ?t2|\bt2 ?hemo|\bfl2d ?t2|\bbsi\b|\bfsbb\b|\bsusc\b|\br2s\b|\br2 ?\*|"
            r"\bmgre\b|\bmulti ?echo gre"
        ),
    ),
    _rule(
        "map from diffusion other than ADC",
        _type("FA/EADC/EXP/EXPONENTIAL/COLFA/AD/RD/MD/VR/RA/EIGEN/TENSOR/EADC MAP/TRACE"),
        none=(_type("TRACEW"), Condition(keyword="BValues", at_least=50.0)),
    ),
    _rule(
        "map from diffusion other than ADC",
        _is(
            r"\be ?adc\b|\bexp\b|\bexponen\w*|\bfa\b(?! ?\d)|\bfa ?map|\bfract\w* ?an\w*|\bcol(?:our|"
            r"or)? ?fa\b|\bcolfa|\bdec\b|\bdti ?(?:fa|md|ad|rd)\b|\btracto\w*|\bfibre|\bfiber|\bmd\b|"
            r"\beigen\w*|\bmean ?diffusivity|\btensor ?(?:map|trace)\b|\bmk\b|\bkurtosis map|\bd ?star\b|"
            r"\bvol(?:ume)? ratio|\bcmap\b|\bev\d\b"
        ),
    ),
    _rule(
        "spectroscopy",
        _is(
            r"\bmrs\b|\bmrsi\b|spectro\w*|spektro\w*|\bsvs\b|\bcsi\b|\bpress\b|\bsteam\b|\bprobe ?p\b|"
            r"\bsv ?(?:press|te)\b|\bcho\b|\bnaa\b|\bmega\b"
        ),
    ),
    _rule(
        "quantitative or synthetic map",
        _is(
            r"\bt1 ?(?:w )?map\w*|\bt2 ?map\w*|\bpd ?map\w*|\bmap ?t[12]\b|\bmolli\b|\bt1 ?rho|"
            r"\br[12] ?map|\bsy ?mri|\bmagic\b|\bmaps?\b|\bmrf\b|finger ?print|"
            r"\bmp2rage\w* ?.*\b(?:inv ?\d|t1 images|t1map)|\binv ?[12]\b|\bt1 images\b|\bmto(?:n|ff)\b|"
            r"\bmtr\b|\bmt ?(?:on|off)\b|\bsynthetic\b|\bsynthe\w*\b|\bcest\b|\bapt\w?\b|\bmre\b|\belasto|"
            r"\bmwf\b|\bmyelin"
        ),
        none=(_is(_ADC),),
    ),
    _rule(
        "quantitative or synthetic map",
        _type("T1 MAP/T2 MAP/T1_MAP/T2_MAP/R1/R2/R2_STAR MAP/T2_STAR MAP/T2_STAR/PROTON DENSITY MAP/METABOLITE MAP"),
    ),
    _rule(
        "calibration",
        _is(
            r"\bcalib\w*|\basset ?cal|\bcal\b|\bcoil ?(?:survey|sens)\w*|\bref ?scan|\bsense ?ref|"
            r"\bprescan|\bnoise\b|\bpre ?scan|\badjust\w*|\bbody ?coil"
        ),
    ),
    _rule(
        "no image of a scan",
        _is(
            r"\bscreen ?(?:save|shot|cap)\w*|\breport\b|\bphoenix|\bsummary\b|\bkey ?images?\b|"
            r"\bdose\b|\bresults?\b|\bpostprocess|\bseg(?:mentation)?\b|\boverlay\b|"
            r"\bfusion\b"
        ),
    ),
    _rule(
        "not the brain",
        _is(
            r"\b(?:c|t|l|cervical|thoracic|lumbar|dorsal|total|whole) ?(?:spine|sp)\b|\bspine\b|"
            r"\bspinal\b|\bhws\b|\bbws\b|\blws\b|\brachis|\bcolumna|\bcolonna|\bmyelo|\bwervel|\bneck\b|"
            r"\bhals\b|\bknee\b|\bknie\b|\bshoulder|\borbit\w*|\biac\b|\biacs\b|\bcai\b|\bpituit\w*|"
            r"\bhypoph\w*|\bhypofys\w*|\bipofisi\b|\bhipof\w*|\bsella\b|\bsellar|\btmj\b|\bliver\b|"
            r"\bprostat|\bbreast|\bcardiac|\bheart\b|\babdom|\bpelvi|\bhip\b|\bankle|\bwrist|\bcerv\b|"
            r"\bfelsenbein|\bconduit"
        ),
    ),
    _rule(
        "not the brain",
        _any(
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
    _rule(
        "another contrast",
        _is(
            r"\bstir\b|\bdir\b|double ?inversion|\bpsir\b|\bfiesta|\bciss\b|\bdrive\b(?<!tse drive)|"
            r"\bb?ssfp\b|\bbtfe\b|\bfast ?gre ?cal|\btrufi\w*|\btrue ?fisp|\bdess\b|\bfgatir|\bnm ?t1|"
            r"\bneuro ?melanin|\bwhite matter null|\bcsfn\b|\bt2 ?prep|\bpd\b|\bpdw?\w*|\bproton|"
            r"\bdensity|\bute\b|\bpetra\b|\bzte\b|\bbone\b"
        ),
        none=(_is(_T1), _is(_T2), _is(_DWI)),
    ),
    _rule(
        "echo-planar without diffusion",
        _any("ScanningSequence", "EP"),
        none=(_DIFFUSION, _is(_DWI), _is(_ADC), _type("ADC")),
    ),
)

# --- what each role is -------------------------------------------------------------------------------------

_NOT_T1 = (_is(_FLAIR + r"(?<!t1 flair)(?<!t1flair)"), _is(_DWI), _is(_ADC), _is(_T2))
_LONG_ECHO = (_least("EchoTime", 60.0),)


def _t1(*more: Condition, none: tuple[Condition, ...] = ()) -> tuple[Rule, ...]:
    """A T1-weighted image by name or by physics."""
    return (
        _rule(
            "T1 in the description",
            _is(_T1),
            *more,
            none=(*none, _is(_DWI), _is(_ADC), _is(rf"{_T2}(?!.*{_T1})(?<!t1)"), *_LONG_ECHO),
        ),
        _rule("a T1-weighted sequence by name", _is(_T1_SEQUENCES), *more, none=(*none, *_NOT_T1, *_LONG_ECHO)),
        _rule(
            "3D gradient echo, prepared or short",
            _any("ScanningSequence", "GR"),
            _any("MRAcquisitionType", "3D"),
            _most("EchoTime", 8.0),
            _most("RepetitionTime", 3500.0),
            *more,
            none=(
                *none,
                _any("ScanningSequence", "EP"),
                _DIFFUSION,
                _least("InversionTime", 1600.0),
                _any("SequenceVariant", "TOF"),
                _MIXED,
            ),
        ),
        _rule(
            "2D gradient echo, short echo, large flip angle",
            _any("ScanningSequence", "GR"),
            _any("MRAcquisitionType", "2D"),
            _most("EchoTime", 10.0),
            _most("RepetitionTime", 900.0),
            _least("RepetitionTime", 60.0),
            _least("FlipAngle", 45.0),
            *more,
            none=(*none, _any("ScanningSequence", "EP"), _DIFFUSION, _MIXED),
        ),
        _rule(
            "spin echo, short TE and TR",
            _any("ScanningSequence", "SE"),
            _most("EchoTime", 35.0),
            _most("RepetitionTime", 1300.0),
            _least("RepetitionTime", 200.0),
            *more,
            none=(*none, _any("ScanningSequence", "EP", "GR"), _DIFFUSION, _MIXED),
        ),
        _rule(
            "inversion recovery spin echo, short TI and TE",
            _any("ScanningSequence", "IR"),
            _least("InversionTime", 350.0),
            _most("InversionTime", 1250.0),
            _most("EchoTime", 40.0),
            *more,
            none=(*none, _any("ScanningSequence", "EP"), _DIFFUSION, _MIXED),
        ),
    )


_IS_VARIABLE_FLIP = _is(_VARIABLE_FLIP)

_ROLES: dict[Role, tuple[Rule, ...]] = {
    Role.ADC: (
        _rule("ADC map by ImageType", _type("ADC/ADC_UNSPECIFIED"), none=(_is(r"\be ?adc\b|\bexp"),)),
        _rule("ADC in the description", _is(_ADC), none=(_least("BValues", 50.0),)),
    ),
    Role.DWI: (
        _rule("diffusion-weighted images", _DIFFUSION, none=(_type("ADC"),)),
        _rule("diffusion in the description", _is(_DWI), none=(_type("ADC"), _is(_ADC))),
    ),
    Role.FLAIR: (
        _rule(
            "FLAIR in the description",
            _is(_FLAIR),
            none=(_is(rf"{_T1}(?!.*{_T2})"), _is(_DWI), _most("InversionTime", 1100.0)),
        ),
        _rule(
            "long inversion time and echo",
            _least("InversionTime", 1300.0),
            _most("InversionTime", 3500.0),
            _least("EchoTime", 70.0),
            _least("RepetitionTime", 3500.0),
            none=(_DIFFUSION, _any("ScanningSequence", "EP")),
        ),
    ),
    Role.T1C_VFA: _t1(_GIVEN, _IS_VARIABLE_FLIP)[:2],
    Role.T1C: _t1(_GIVEN, none=(_IS_VARIABLE_FLIP,)),
    Role.T1: _t1(none=(_GIVEN,)),
    Role.T2: (
        _rule(
            "T2 in the description",
            _is(_T2),
            none=(_is(_FLAIR), _is(_T1), _is(_DWI), _is(_ADC), _most("EchoTime", 45.0)),
        ),
        _rule(
            "spin echo, long TE and TR",
            _any("ScanningSequence", "SE"),
            _least("EchoTime", 65.0),
            _least("RepetitionTime", 1800.0),
            none=(_any("ScanningSequence", "EP", "GR"), Condition(keyword="InversionTime", at_least=100.0), _DIFFUSION),
        ),
    ),
}

DEFAULT_RULES = Rules(exclude=_EXCLUDE, roles=_ROLES)


def as_settings(rules: Rules = DEFAULT_RULES) -> dict[str, Any]:
    """Rules in the form of the settings file, for a site to start from."""
    return rules.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
