"""Names of contrast agents for MRI, as makers and hospitals write them.

Generic names begin with "gado" but for those listed; brands are as of December 2026 (EMA, FDA, PMDA, NMPA). Iodine is
in
no MR image.
"""

from __future__ import annotations

BRANDS = (
    r"ablavar|artirem|clariscan|cyclolux|dotagit\w*|dotagraf|dotarem|dotaspin|dotavision|dotarita|elucirem|eovist"
    r"|feraheme|ferumox\w*|ferriprox|magnegita|magnescope|magnetol|magnevi[st]\w*|magnilek|magnograf"
    r"|mangafodipir|mr ?lux"
    r"|multihance|omnigraf|omniscan|optimark|pixxoscan|primovist|prohance|teslascan|uniray|vasovist|viewgam|vueway"
)
BRANDS_CYRILLIC = (
    r"гадо\w*|магневист\w*|омнискан\w*|дотарем\w*|дотавист\w*|примовист\w*|мультиханс\w*|прохан?с\w*|прохэнс\w*"
    r"|прохенс\w*|кларискан\w*|магнилек\w*|оптимарк\w*|вьювэй\w*|пиксоскан\w*"
)
BRANDS_OF_EAST_ASIA = (
    r"钆|釓|ガド|가도|マグネビスト|オムニスキャン|プロハンス|マグネスコープ|马根维显|莫迪司|多它灵|欧乃影|加乐显"
)
# What hospitals write where no agent was given.
NO_AGENT = frozenset({
    "-", "--", "0", "ANONYMIZED", "FALSE", "KEIN", "KEINES", "N", "N/A", "NA", "NATIV", "NATIVE", "NC", "NEE",
    "NEIN", "NIE", "NIL", "NO", "NO AGENT", "NO CONTRAST", "NON", "NONE", "NOT APPLICABLE", "NOT GIVEN",
    "OHNE", "PLAIN", "REMOVED", "SANS", "SENZA", "SIN", "UNKNOWN", "W/O", "WITHOUT", "ZONDER",
})  # fmt: skip
