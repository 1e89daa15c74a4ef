"""The small words that every text of a language has, and their table for the compiled count.

Of each list, an ordinary text has some in every sentence: a page without any is a table, a listing or a menu. Chinese
has those of the modern and of the classical language, in both scripts; each is one character, as a word is there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WORDS: dict[str, str] = {
    "en": "the of and to in a is that for it with as be on by this are or an not from at which have can you if"
    " will when has may was but all i he his we they were their been would there one so what who had my"
    " your do its no into",
    "zh": "的 一 是 不 了 在 有 我 他 这 這 个 個 们 們 中 来 來 上 大 为 為 和 国 地 到 以 说 說 时 時 要 就"
    " 出 会 會 可 也 你 对 對 生 能 而 子 那 得 于 於 着 之 其 者 所 与 與 何 无 無 人 此 自 从 從 下 如"
    " 若 乃 相 欲 已 未 又 多 还 還 及 或",
    "de": "der die das und in zu den ist nicht von mit sich des auf für im dem ein eine als auch es an werden"
    " aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur"
    " oder aber vor zur bis mehr",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec"
    " ou son aux d l cette ont ses mais comme on tout nous sa fait été aussi leur bien peut ces y elle"
    " vous je",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me"
    " si sin sobre este ya entre cuando todo esta ser son dos también fue había era muy hasta desde está"
    " mi",
    "it": "di e che la il un a per in una mi sono ho non ma lo ha le si ti i con cosa se io come da ci no"
    " questo qui hai sei del bene tu sì me più al mio c perché lei solo te era gli tutto della così mia"
    " ne questa dei alla",
    "pt": "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua"
    " ou quando muito nos já eu também só pelo pela até isso ela entre depois sem mesmo aos seus quem nas"
    " me esse",
    "nl": "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om hem dan"
    " zou of wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe"
    " heeft hebben",
    "ru": "и в не на я что он с как это по но она к а из за у же от то так все о для бы мы его вы только был"
    " мне еще при когда или ни если до уже даже быть нет них чем была сам себя может под будет",
    "pl": "i w na z się nie do to że jest o a jak po co tak za od są dla ale przez tym przy może czy go być już"
    " tylko lub ze oraz jako który która jej ich jego był",
    "cs": "a se v na je že s z do o i to k ve pro za by ale si po jako od tak jsem které nebo jsou jeho při"
    " která který aby bylo byl však co když než až být jen už bude není",
    "sv": "och i att det som en på är av för med den till inte har de ett om jag var så men från kan vi han vid"
    " ska eller när man nu sig också efter hade här ut vara under där alla dem denna",
    "ja": "の に は を た が で て と し れ さ い る す な か ら も う こ よ り く ん",
    "ar": "في من على أن إلى التي عن لا ما هذا مع هذه كان أو الذي بين كل بعد قد لم ذلك و هو هي",
}
_NUM_SLOTS = 4096


def bits() -> dict[str, np.uint64]:
    """The bit of each language that has a list."""
    return {language: np.uint64(1 << place) for place, language in enumerate(WORDS)}


@lru_cache(maxsize=1)
def table() -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Open table from the hash of a word to the bits of its languages: keys and masks, see `measure.measure`."""
    from motherlode.modality.text import measure, words

    keys_S, masks_S = np.zeros(_NUM_SLOTS, np.uint32), np.zeros(_NUM_SLOTS, np.uint64)
    for language, bit in bits().items():
        for word in WORDS[language].split():
            key = np.uint32(words.hash_word(np.frombuffer(word.encode(), np.uint8)))
            slot = measure.find_slot(keys_S, key)
            keys_S[slot] = key
            masks_S[slot] |= bit
    return keys_S, masks_S
