"""Words for contrast in scripts that are not Latin.

Chinese, Japanese, Korean, Cyrillic, Greek, Hebrew, Arabic, Thai.
"""

from __future__ import annotations

from enhancement.dicom.matching.agents import BRANDS_CYRILLIC, BRANDS_OF_EAST_ASIA

# 造影, 增强, 조영, 증강: contrast or enhancement. 前, 전: before. なし, 없: without. 後, 后, 후: after.
_ENHANCED = r"(?:造影|增[强強]|強化|强化|对比剂?|対比剤?|조영|증강)"
_ASIA_NEGATED = (
    rf"(?:非|未|无|無|不|没有|免|비|무) ?{_ENHANCED}|{_ENHANCED}(?:剤|剂|제|제제)? ?(?:前|以前|之前|なし|無し"
    rf"|无し|無|ナシ|せず|不要|전|없|안"
    rf"|미"
    rf"|금)"
    r"|(?:注射|注药|打药|给药|投与|静注|주입|주사|투여) ?(?:前|之前|전)"
)
_ASIA_ALONE = r"平[扫掃]|单纯|單純|単純|プレーン|プレ(?!ゼ)|단순|普通扫描"
_ASIA_GIVEN = (
    rf"{_ENHANCED}|{BRANDS_OF_EAST_ASIA}|(?:注射|注药|打药|给药|投与|静注|주입|주사|투여) ?(?:後|后|之后|후)"
    rf"|ポスト"
)

# Russian, Ukrainian, Bulgarian, Serbian. КУ: contrast enhancement; КВ, КС, КП: contrast agent.
_CYRILLIC_NOUN = (
    rf"(?:контр\w*|конт\b|усилен\w*|підсилен\w*|к ?[увсп]\b|введени\w*|введення|ін?ъ?екц\w*"
    rf"|инъекц\w*|{BRANDS_CYRILLIC})"
)
_CYRILLIC_OF = r"(?:(?:в в|вв|внутривенн\w*|болюсн\w*|введени\w*|введення|применени\w*|использовани\w*) )*"
_CYRILLIC_NEGATED = (
    rf"\b(?:без|до|перед|пред|преди|пре|не|нет|відсут\w*"
    rf"|бес) ?{_CYRILLIC_OF}{_CYRILLIC_NOUN}"
    rf"|\b{_CYRILLIC_NOUN} (?:нет|немає|не введ\w*)"
    r"|\b(?:бес|без|до|пре|нон|не)контр\w*"
)
_CYRILLIC_ALONE = r"\bнатив\w*|\bбез$"
_CYRILLIC_GIVEN = (
    rf"\b{_CYRILLIC_NOUN}|\bпост ?контр\w*|\bпосле$|\b(?:после|після"
    rf"|след) (?:{_CYRILLIC_NOUN}|в в)"
)

_GREEK_NOUN = r"(?:σκιαγραφ\w*|σκιαστ\w*|ενισχ\w*|γαδολ\w*|παραμαγν\w*|εγχυσ\w*|εγχ\b)"
_GREEK_NEGATED = rf"\b(?:χωρι[σς]|προ|πριν|ανευ|μη) ?(?:απο |την? |το |του |τησ? |iv )*{_GREEK_NOUN}"
_GREEK_ALONE = r"\b(?:χωρι[σς]|πριν|προ|απλη|απλο)\b"
_GREEK_GIVEN = rf"\b{_GREEK_NOUN}|\bμετα(?: |$)"

_SEMITIC_NEGATED = (
    r"(?:ללא|בלי|לפני) ?(?:חומר |הזרקת )*(?:ניגוד|גדוליניום|הזרקה|חומר)?|(?:بدون|قبل"
    r"|بلا) ?(?:ال)?(?:تباين|صبغة|حقن|ماده حاجب|تزریق|حاجب)?"
)
_SEMITIC_GIVEN = r"ניגוד|גדוליניום|אחרי|לאחר|تباين|صبغة|تزریق|حاجب|بعد الحقن|الحقن"
_THAI_NEGATED = r"(?:ไม่|ก่อน)(?:ฉีด|ใช้)"
_THAI_GIVEN = r"ฉีด|หลังฉีด|สารทึบ"

NEGATED = rf"{_ASIA_NEGATED}|{_CYRILLIC_NEGATED}|{_GREEK_NEGATED}|{_SEMITIC_NEGATED}|{_THAI_NEGATED}"
NEGATIVE_ALONE = rf"{_ASIA_ALONE}|{_CYRILLIC_ALONE}|{_GREEK_ALONE}"
GIVEN = rf"{_ASIA_GIVEN}|{_CYRILLIC_GIVEN}|{_GREEK_GIVEN}|{_SEMITIC_GIVEN}|{_THAI_GIVEN}"
# Angiography, myelography, phase contrast
OTHER_CONTRASTS = r"(?:血管|脊[髄髓]|尿路|胆|혈관|척수) ?(?:造影|조영)|фазо\w* ?-? ?контр\w*|强化学习|相位对比"
# What is none of ours in these scripts, for the exclusions
LOCALISER = r"定位|位置決め|スカウト|스카우트|локалай\w*|локализ\w*|εντοπισ\w*"
ANGIOGRAPHY = r"血管|혈관|ангио\w*|αγγειο\w*"
SUBTRACTION = r"减影|減影|差分|サブトラ\w*|субтракц\w*|вычит\w*|감산|αφαιρ\w*"
REFORMAT = r"重建|重组|再構成|재구성|реконстр\w*|реформат\w*|ανασυνθ\w*"
NOT_BRAIN = r"[颈頸頚胸腰]椎|脊[柱椎髓髄]|경추|요추|흉추|척추|позвон\w*|шейн\w*|поясн\w*|σπονδυλ\w*|αυχεν\w*"
