"""The words that say whether contrast was given, in the languages of hospitals.

Latin words are without accents and in lower case (`words.py`). A new word needs a row in `tests/unit/marks.csv`.
"""

from __future__ import annotations

from enhancement.dicom.matching import other_scripts
from enhancement.dicom.matching.agents import BRANDS

# The agent, or its being there: English, French, German, Spanish, Italian, Dutch, Portuguese, Scandinavian, Slavic,
# Romanian, Turkish, Finnish, Hungarian, Vietnamese, Indonesian.
_NOUN = (
    rf"(?:gd\w{{0,4}}|gad\w*|contr\w*|kontr\w*|enh\w*|km|kmm|mdc|mcd|civ|pdc|inj\w*|iniez\w*|iny\w*|tehost\w*|ilac\w*|thuoc"
    rf"|tiem|{BRANDS})"
)
_SHORT = r"(?:ki|cm|iv|c|ce|k|kk|k k|kl|k l|ks|pc)"
_AGENT = rf"(?:{_NOUN}|{_SHORT})"
_WITHOUT = (
    r"(?:sans|ss|ohne|o|sin|senza|zonder|without|w ?o|w ?out|wout|minus|ej|no|non|not|un|never|sem|utan|uten"
    r"|uden|bez|fara|brez|sense|tanpa|ilman"
    r"|khong|ingen|kein\w*|geen|nincs)"
)
_BEFORE = (
    r"(?:vor|v|voor|avant|av|prima|antes|before|pre|pra|prae|ante|fore|innan|przed|pred|inainte|ennen|prije|truoc"
    r"|sebelum|abans|for(?= k)|be(?= k))"
)
_OF = (
    r"(?:(?:di|de|da|do|du|d|del|della|dell|of|any|the|der|des|den|iv|i v|mezzo|medio|meio|agente?|agent"
    r"|produit|srodk\w*"
    r"|subst\w*|administ\w*|agents|venos\w*) )*"
)
# What may follow "no" and is no contrast: "T1 GD NO FATSAT"
_OTHER_NOUN = r"(?: ?(?:fat|fs\b|sat|gap|mt\b|mtc|angle|motion|comp|supp|delay|filter|norm|dist|pat\b|sense|flow|\d))"
_NO_AFTER = (
    rf"(?:no|non|none|nein|nej|ne|nie|niet|nee|nao|neg|negat\w*|minus|yok|nelkul\w*|elott|oncesi|free|frei|absent|nil|off"
    rf"|false|not given|ei|khong)\b(?!{_OTHER_NOUN})"
)
NEGATED = (
    rf"\b(?:{_WITHOUT}|{_BEFORE}) ?{_OF}{_AGENT}\b|\bs (?:c|ce|civ|gd|gad\w*|contr\w*|mdc|cm|km)\b"
    rf"|\b{_NOUN} {_NO_AFTER}"
    r"|\b(?:w ?o|w ?out|wout|without|non?) con\b|\bn ?c\b|\bs cte\b|(?<![\d.])0 ?(?:gd|km|gad\w*)\b|\b(?:gd"
    r"|gado?|km)(?:free|frei|less|los)\b|\b[ck]ontras\w*(?:siz|suz|sz|los|losen?|less|frei|free|ita|iton|ittomat|mentes)\b|\bilacsiz\b"
    rf"|{other_scripts.NEGATED}"
)
_T1 = r"(?:t1w?i?|rage|bravo|spgr|tfe|vibe|mpr|[23]d)"
_PLACE = rf"(?:{_T1}|t2w?i?|space|cube|flair|tse|fse|gre|flash|ax|axial|sag|cor|tra|iso)"
_SHORT_MARK = r"(?:km|gd(?!free)|gad|civ|mdc|ce|inj|enh|woc?|nc)"
_LONG_MARK = r"(?:pre|post|gado\w*|nativ\w*|noncon\w*|unenh\w*|contrast\w*|kontrast\w*|sans|avec)"
_MARK = rf"(?:{_SHORT_MARK}|{_LONG_MARK})"
JOINED_AFTER = rf"(?<![a-z])({_T1}(?={_SHORT_MARK}(?![a-z]))|{_PLACE}(?={_LONG_MARK}(?![a-z])))({_MARK})(?![a-z])"
JOINED_BEFORE = rf"(?<![a-z])({_MARK})((?:t1|mprage|mpr|bravo|3d|vibe|spgr|ax|axial|sag|cor|tra|flair)w?)(?![a-z])"

_PROCEDURE = (
    r"(?:ops?|opp?|oper\w*|chir\w*|surg\w*|interv\w*|cirug\w*|zabieg\w*|leikk\w*|ameliyat\w*|mutet\w*|biops\w*|ablat\w*|litt"
    r"|laser\w*|rtx?|x ?rt|rx|radi\w*|bestrahl\w*|strahl\w*|gamma\w*|gk\w*|gkr?s|srs|srt|sbrt|cyber\w*|imrt"
    r"|proton\w*|chemo\w*"
    r"|tmz|treat\w*|tx|thera\w*|trait\w*|tratam\w*|behand\w*|resec\w*|resek\w*|crani\w*|embol\w*|coil\w*|stent\w*|clip\w*|tpa"
    r"|lys\w*|lytic|thromb\w*|shunt\w*|evd|dbs|implant\w*|elect\w*|stim\w*|tms|ect|lp|punct\w*|punkt\w*|drain\w*|trauma\w*"
    r"|injur\w*|ictal|seiz\w*|stroke|partum|natal|menop\w*|mortem|transpl\w*|bmt|hct|covid\w*|fall|proc|process(?:ing)?|fossa"
    r"|front\w*|scan|sat\w*|lab\w*|vaccin\w*|pharma\w*|medic\w*|drug|dosing|cycle|day|week|wk"
    r"|month|baseline|exerc\w*|task|rest|sleep|hemi\w*|evac\w*|debulk\w*|recur\w*|excis\w*|ect\w*omy|\w+ectomy|\w+otomy"
    r"|\w+plasty|\w+opsy)"
)
PROCEDURES = (
    rf"\b(?:pre|post|peri|intra|inter)(?: ?[/&+]? ?(?:pre|post))? ?-? ?{_PROCEDURE}\b"
    rf"|\b(?:vor|nach|avant|apres|prima|dopo|antes|despues|tras|voor|na|before|after|fore|efter|etter|po|przed|pred)"
    rf" (?:la |le |l |de |der |da |dell? |d |the )*{_PROCEDURE}\b"
)
# "Phase contrast" and "magnetisation transfer contrast" are not about an injection.
OTHER_CONTRASTS = (
    r"\b(?:phase|phasen|transfer|tissue|multi|high|fluid|inflow|blood|edge|image|low|soft) ?(?:contrast\w*|kontrast\w*)"
    r"|\b(?:edge|detail|ai|quality|image|motion) ?enhanc\w*|\bcontrast ?(?:opt\w*|adj\w*|level|to noise)"
    rf"|{other_scripts.OTHER_CONTRASTS}"
)
_AND = r" ?(?:and|und|u|et|ou|or|y|o|e|og|och|i|en|of|ja|si|ve|\+|&)? ?"
BOTH = (
    rf"\b(?:w|with|mit|avec|con|com|met|med|cu|c){_AND}(?:w ?o|without|ohne|sans|sin|sem|senza|zonder|utan"
    rf"|uten|uden|fara|s)\b"
    rf"(?: {_NOUN})?|\b(?:w ?o|without|ohne|sans|sin|sem|senza|zonder|utan|uten|uden|fara){_AND}(?:w|with|mit"
    rf"|avec|con|com|met|med"
    rf"|cu)\b(?: {_NOUN})?|\b(?:pre|pra|vor|avant){_AND}(?:post|nach|apres)\b(?: {_NOUN})?|\b(?:post|nach"
    rf"|apres){_AND}(?:pre|vor)\b"
    rf"(?: {_NOUN})?|\b{_NOUN} \+ ?- ?"
)
# In the text as stored: "+/- Gd"
EITHER = r"(?:\+ ?/ ?-|±|- ?/ ?\+|C\+ ?/ ?C-) ?(?:gd\w*|gad\w*|c|km|contrast|kontrast)?\b"
_NEGATIVE_ALONE = (
    r"\b(?:pre|pra|prae)(?!\w)|\bpre(?:contr\w*|kontr\w*|gad\w*|gd|km|inj\w*|c|enh\w*)\b"
    r"|\bnat(?:iv|yw|iiv)\w*|\bnatif\w*|\bplain\b|\bunenh\w*|\bbasale?\b|\bblanco\b|\bnon ?(?:con\w*|ce"
    r"|enh\w*)\b|\bnce\b|\bn ?c\b"
    r"|\bw ?o\b|\bwo ?c\w*\b|\bleer\b|\bavant\b|\bsine\b|\bvoor\b|\bantes\b|\bprima\b|\bsg\b|\bsimple\b"
    r"|\btruoc\b|\bennen\b"
    r"|\b(?:ohne|without|senza|sans|zonder|sem|(?<!kontraszt )utan|uten|uden|bez|ilman|wo|nc)$"
    rf"|{other_scripts.NEGATIVE_ALONE}"
)
NOT_GIVEN = rf"{NEGATED}|{_NEGATIVE_ALONE}"
# Minus signs count only in the text as stored: "C-", " -C", "Gd(-)"
_MINUS_NOUN = (
    r"(?:c|ce|cm|km|gd|gado?|gadolinium|k|ki|mdc|iv|civ|inj|contrast|kontrast|造影剤?|增[强強]|조영|кв|ку|контраст)"
)
MINUS = (
    rf"(?<![\w+]){_MINUS_NOUN}(?:-(?!\w)| ?[\(\[] ?- ?[\)\]])|(?:^|[\s_(])-(?:c|km|gd|ki|iv)\b(?!\w)"
    rf"|[\(\[] ?- ?[\)\]] ?{_MINUS_NOUN}\b"
)
GIVEN = (
    rf"\+ ?(?:c|ce|gd\w{{0,4}}|gad\w*|contr\w*|kontr\w*|km|ki|mdc|iv|civ|inj\w*|k|cm|enh\w*)(?![a-z])"
    r"|(?<![a-z])(?:c|ce|gd|gad|gado|km|ki|k|iv|mdc|contr\w*|kontr\w*|inj|enh) ?\+(?!\w)"
    r"|(?<!\d)t1\w*[^+]*\+$|(?:(?<!\d)t1|\bbravo|rage|spgr|\btfe|\bvibe|\bthrive)\w*(?: .*)? c$"
    r"|\b(?:gd|gad|gado\w*|gadolin\w*|gdtpa|gddtpa|gdpta|gd dtpa)\b|(?<=t1)(?:gd|gado?|c|ce|km)\b"
    r"|\bpost(?!\w)|\bpost ?(?:c|con\w*|gad\w*|gd\w*|km|inj\w*|kontr\w*|mdc|enh\w*)\b"
    r"|\bce\b|\bkmm?\b|\bmdc\b|\bmcd\b|\bcmc\b|\bpdc\b|\bcivi?\b"
    r"|\binj(?:\w*)\b|\biniez\w*|\binyec\w*|\bapres\b|\bavec(?: (?:inj\w*|gad\w*|contr\w*|pdc|iv)\b|$)"
    r"|\bap ?inj\w*\b|\bapgado\w*\b"
    r"|\bnach\b|\bmit k\w*\b|\b[ck]ontr?ast\w*\b|\bcontraste\w*\b|\bkontras\w*\b"
    r"|\bcon (?:contr\w*|mdc|gad\w*|gd|civ|mezzo|medio|iv)\b|\btras (?:contr\w*|gad\w*|civ|inj\w*|iv)\b"
    r"|\bdespues\b|\bdopo\b"
    r"|\bmet (?:contr\w*|gd|gad\w*|km|cm)\b|\bna (?:contr\w*|gd|gad\w*|km|cm|inj\w*|toed\w*)\b"
    r"|\b(?:with|w|avec) ?(?:contr\w*|con|gad\w*|gd|c|ce|iv)\b|\benhanc\w*\b|\benh\b|\b(?:with|after)$"
    r"|\b(?:s|se|po|z|med|efter|etter|after|apos|pos) (?:k ?[klsm]|kontr\w*|cm|gd|gad\w*)\b|\bapos\b"
    r"|\bc cte\b|\btehost\w*|\bilacli\b"
    r"|\b(?:sau|co) (?:tiem|thuoc)\b"
    rf"|\b(?:{BRANDS})\b|{other_scripts.GIVEN}"
)
