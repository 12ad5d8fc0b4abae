"""Thousands of texts that tokenizers may stumble over, the same each time: made here, none copied."""

import itertools
import random

from tokenizer_samples import AWKWARD, SCRIPTS, strings

SENTENCES = (
    "The reeve opens the sluice before dawn, and closes it at 05:40.",
    "Die Sole wird im Frühjahr über Reisig geführt; das größte Becken heißt „Süderwanne“.",
    "Le paludier récolte la fleur de sel à l’aube — s’il n’a pas plu.",
    "¿Cuántos días reposa el agua? Según el año, ¡nueve o más!",
    "Żółta łódź płynie przez gęstą mgłę; sól wciąż się suszy.",
    "Nước biển được giữ lại trong ruộng, rồi phơi nắng đến khi kết tinh.",
    "Tuz İzmir'de ıslak, ırmakta ise azdır. IĞDIR'DA KIŞ.",
    "Ο αλατοπώλης ΜΕΤΡΑ ΤΟΥΣ ΣΑΚΟΥΣ· πόσος είναι ο ΠΟΣΟΣ;",
    "Рассол крепчает к вечеру, а утром его сливают в чан. Ёж уснул.",
    "Сіль їдуть купувати на ярмарок, ґречно торгуючись.",
    "Աղը չորանում է արևի տակ, իսկ ջուրը գնում է։",
    "მარილი მზეზე შრება, წყალი კი არხში ბრუნდება.",
    "המלח מתייבש בשמש, והמים חוזרים לתעלה. כמה ימים? 14!",
    "יִבְשׁוּ הַבְּרֵכוֹת בַּקַּיִץ",
    "يجفّ الملح تحت الشمس، ويعود الماء إلى القناة؛ كم يومًا؟ ١٤",
    "نمک زیر آفتاب خشک می‌شود و آب به جوی برمی‌گردد.",
    "नमक धूप में सूखता है और पानी नहर में लौट जाता है।",
    "লবণ রোদে শুকায়, জল খালে ফিরে যায়।",
    "உப்பு வெயிலில் காய்கிறது, நீர் வாய்க்காலுக்குத் திரும்புகிறது.",
    "เกลือแห้งกลางแดด น้ำไหลกลับลงคลอง",
    "盐在太阳下晒干,水流回渠道。三十六块盐田。",
    "塩は日なたで乾き、水は水路へ戻る。ガギグゲゴ、ぱぴぷぺぽ。",
    "소금은 햇볕에 마르고 물은 도랑으로 돌아간다.",
    "ጨው በፀሐይ ይደርቃል፤ ውሃውም ይመለሳል።",
    "អំបិលស្ងួតក្នុងថ្ងៃ ហើយទឹកហូរត្រឡប់ទៅប្រឡាយវិញ។",
    "𞤤𞤢𞤥𞤣𞤢𞤥 𞤴𞤮𞤪𞤭 𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𝔖𝔞𝔩𝔱 Ｓａｌｔ ⅷ Ⅷ ⓢⓐⓛⓣ ﬁﬂ",
)
CODE = (
    'fun area(r: Double) = Math.PI * r.pow(2) // "π r²"\n\n\tif (a[i] != 0xFF && !done) { return@loop }\n',
    "SELECT name, COUNT(*) FROM pans WHERE depth >= 0.25 GROUP BY name;\r\n-- end\r\n",
    '{"id": 42, "tags": ["salt", "pan"], "note": null, "path": "C:\\\\tmp\\\\a.txt"}',
    "<table>\n  <tr><td>1</td></tr>\n</table><code>x</code></b>",
    '#!/bin/sh\nset -eu\nfor f in *.tar.gz; do tar xzf "$f" -C /tmp || exit 1; done\n',
    "a=b;c+=d--;e<<=3;f=~g^h|i&j?k:l;m@n.example;#!$%'`{}[]\\_",
)
SEQUENCES = (
    "👨‍👩‍👧‍👦👩🏽‍🚀🧑🏿‍🤝‍🧑🏻🏴󠁧󠁢󠁳󠁣󠁴󠁿🏳️‍🌈❤️‍🔥",
    "🇳🇴🇩🇪🇯 🇵1️⃣#️⃣*️⃣©️™️",
    "☺︎☺️✌🏾👍🏻👍🏼👍🏽👍🏾👍🏿",
    "e\u0301 \u00e9 A\u030a \u00c5 \u212b o\u0308\u0323 o\u0323\u0308 \u1e0b\u0323 q\u0307\u0323",
    "\u1100\u1161\u11a8 \uac01 \uac00\u11a8 \u3131\u314f",
    "\u202babc \u05d0\u05d1\u05d2\u202c \u2067\u0645\u0631\u062d\u0628\u0627\u2069 \u200fx\u200e \u202e123",
    "soft\u00adhyphen zero\u200bwidth \u2060joiner \ufeffmark \u200c\u200d \u034f",
    "a\u00a0b\u1680c\u2003d\u2028e\u2029f\u202fg\u205fh\u3000i\u0085j\u000bk\u000cl",
    "\u0915\u094d\u0937\u0947\u0924\u094d\u0930 \u0915\u093c \u0958",
    "\U0001d15e\U0001d165\U0001d16d\u302e\u302f\U0001e944\U0001e94a\U0001e946",
    "\u1ac1\u1ac3\U00011938\U0001e08f",
    "١٢٣ ۴۵۶ १२३ ๑๒๓ 一二三 ½ ² ₃ 1,234.56e-7 0b1010 1_000",
    "«quoted» ‘single’ “double” „low‟ …— – ‐ ‑ ¡¿ 、。「」『』〜 ؟ ، ؛ । ॥ ።",
)
PROMPTS = (
    "",
    "task: search result | query: ",
    "title: none | text: ",
    "<bos>",
    " ",
    "ΠΡΟΣ",
    "salt\n",
    "\u2581",
)


def texts(count: int, added: list[str]) -> list[str]:
    """`count` texts: sentences, code, sequences, runs, words of many scripts, random Unicode."""
    rng = random.Random(11)  # noqa: S311
    made = [*AWKWARD, *SENTENCES, *CODE, *SEQUENCES, *runs(), *cut_tokens(added), *controls()]
    made += [one.upper() for one in SENTENCES] + ["\n\n".join(SENTENCES + CODE)]
    made += [" ".join(rng.choice(made)[:30] for _ in range(4)) for _ in range(count // 10)]
    made += [word_text(rng) for _ in range(count // 4)]
    made += [anything(rng) for _ in range(count // 10)]
    return made + strings(count - len(made), added)


def runs() -> list[str]:
    """Spaces, newlines and tabs in every length up to 70, and some very long ones."""
    lengths = [*range(1, 71), 127, 128, 500, 4000]
    return [
        f"{side}{char * length}{side}" for char in " \n\t\u2581" for length in lengths for side in ("", "x")
    ]


def cut_tokens(added: list[str]) -> list[str]:
    """Added tokens that touch, that lie in each other, that lack an end, and that are written otherwise."""
    chosen = added[:40] + added[40 :: max(1, len(added) // 60)]
    pairs = [left + right for left, right in itertools.pairwise(chosen)]
    broken = [f"a{token[:-1]}{token}{token[1:]}b {token.upper()} {token.lower()}" for token in chosen]
    return [
        *pairs,
        *broken,
        "<start_of_turn>user\nhi<end_of_turn>",
        "<unused1<unused12>2>",
        "[SEP][CLS] [sep][MASK]x",
    ]


def controls() -> list[str]:
    """Each control character inside a word, at its ends and alone."""
    return [
        form.format(chr(code))
        for code in (*range(0x20), *range(0x7F, 0xA0))
        for form in ("a{0}b", "{0}", "{0}a{0}")
    ]


def word_text(rng: random.Random) -> str:
    """Words of one to three scripts, with punctuation and digits between."""
    scripts = rng.sample(list(SCRIPTS.values()), rng.randint(1, 3))
    words = []
    for _ in range(rng.randint(1, 14)):
        low, high = rng.choice(scripts)
        word = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9)))
        words.append(
            rng.choice([word, word, word.upper(), word + rng.choice(".,;:!?-"), str(rng.randint(0, 10**6))])
        )
    return rng.choice([" ", " ", "\n", ""]).join(words)


def anything(rng: random.Random) -> str:
    """Any code points but halves of surrogate pairs."""
    codes = (rng.randrange(0x110000) for _ in range(rng.randint(1, 40)))
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def long_texts() -> list[str]:
    """A hundred thousand letters with and without spaces, and as many of each of two unusual characters."""
    rng = random.Random(3)  # noqa: S311
    letters = "".join(rng.choice("etaoin shrdlu") for _ in range(100_000))
    return [
        letters,
        letters.replace(" ", ""),
        "a" * 100_000,
        "\u2581" * 30_000,
        "𞤤é" * 20_000,
        "<unused1" * 9_000,
    ]
