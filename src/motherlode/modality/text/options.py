"""What counts as a fit document, and the form in which it is kept.

The quality rules are those of Gopher (Rae et al. 2021, "Scaling language models", appendix A.1.1), counted so that they
hold without spaces between words (each Han or kana character is a word) and with bounds that let manuals pass: as
published they kept a few per cent of technical documentation. A rule is off at the value its description names.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from motherlode.recipe import Strict

Action = Literal["mask", "drop", "off"]
PersonalKind = Literal["email", "phone", "card", "ip", "key"]
PERSONAL_KINDS: tuple[PersonalKind, ...] = ("email", "phone", "card", "ip", "key")

REASONS: dict[str, str] = {
    "binary": "not text: a picture, an archive, a program or other binary data",
    "undecodable": "no encoding makes sense of the bytes, or too many characters are lost",
    "damaged": "a PDF or EPUB that cannot be read to its end",
    "encrypted": "a PDF or EPUB that asks for a password or a licence",
    "decompression_bomb": "an EPUB that unpacks to far more than its size",
    "empty": "no text in it",
    "too_short": "fewer words than `min_words`",
    "too_long": "more characters than `max_characters`",
    "other_language": "not surely in one of the languages of `languages`",
    "symbols": "too large a share of signs that are neither letters nor digits",
    "digits": "too large a share of digits",
    "odd_words": "words are too short or too long on average to be words",
    "no_stop_words": "hardly any of the small words that every text of its language has",
    "bullets": "nearly every line is an item of a list",
    "ellipses": "too many lines end in an ellipsis: a page of teasers",
    "repeated_lines": "lines repeat one another",
    "repeated_paragraphs": "paragraphs repeat one another",
    "repeated_phrases": "one phrase makes up too much of it, or whole passages repeat",
    "personal": "holds personal data or a secret, which `personal` says to drop",
    "near_duplicate": "the same text as another but for a few words",
    "toxic": "a passage scores above `toxicity`",
}
"""Every reason for which a document is dropped for what it is, and what it means to a person."""


class Clean(Strict):
    """The section `clean` of `prepare` for text."""

    max_characters: int = Field(10_000_000, ge=1, description="more characters than this: too_long")
    max_lost: float = Field(
        0.01, ge=0, le=1, description="share of characters that could not be decoded above this: undecodable; 1: off"
    )
    mojibake: Literal["repair", "keep"] = Field(
        "repair", description="whether to mend text decoded with the wrong encoding, as `schÃ¶n`"
    )
    front_matter: Literal["strip", "keep"] = Field(
        "strip", description="whether to cut the block of YAML or TOML keys that opens a Markdown file"
    )
    html: Literal["main", "all"] = Field("main", description="which text of a web page: the main one, or menus and all")

    languages: tuple[str, ...] = Field(
        (), description="keep these languages (ISO 639, e.g. [en, zh]), drop others: other_language; []: keep all"
    )
    min_language_score: float = Field(
        0.3, ge=0, le=1, description="probability of the language below this: called `und` (undetermined); 0: never"
    )

    min_words: int = Field(5, ge=0, description="fewer words than this: too_short; 0 switches it off")
    max_symbols: float = Field(
        0.5, ge=0, le=1, description="share of symbols among visible characters above this: symbols; 1: off"
    )
    max_digits: float = Field(
        0.4, ge=0, le=1, description="share of digits among visible characters above this: digits; 1: off"
    )
    min_word_length: float = Field(
        2.0, ge=0, description="mean letters a word (where words have spaces) below this: odd_words; 0: off"
    )
    max_word_length: float = Field(
        14.0, ge=0, description="mean letters a word (where words have spaces) above this: odd_words; 0: off"
    )
    min_stop_words: float = Field(
        0.01, ge=0, le=1, description="share of stop words below this, in known languages: no_stop_words; 0: off"
    )
    max_bullets: float = Field(0.95, ge=0, le=1, description="share of lines that are list items above this; 1: off")
    max_ellipses: float = Field(0.5, ge=0, le=1, description="share of lines that end in … or ... above this; 1: off")
    max_repeated_lines: float = Field(
        0.5, ge=0, le=1, description="share of text in lines seen before in the document above this; 1: off"
    )
    max_repeated_paragraphs: float = Field(
        0.4, ge=0, le=1, description="share of text in paragraphs seen before in the document above this; 1: off"
    )
    max_top_phrase: float = Field(
        0.3, ge=0, description="share of text in its most frequent phrase of 2, 3 or 4 words above this; 0: off"
    )
    max_repeated_phrases: float = Field(
        0.6, ge=0, le=1, description="share of words in runs of ten that occurred before above this; 1: off"
    )

    personal: Action | dict[PersonalKind, Action] = Field(
        "mask",
        description="mask, drop or off; or by kind, e.g. {email: mask, phone: off}: email, phone, card, ip, key; "
        "kinds left out are off",
    )
    personal_deep: bool = Field(
        False, description="also mask names and places found by presidio (slow; motherlode[presidio])"
    )
    toxicity: Literal["off", "score"] | float = Field(
        "off", description="score: a column; a number from 0 to 1: drop above it (motherlode[toxicity]; English)"
    )

    @field_validator("toxicity")
    @classmethod
    def _toxicity_is_a_share(cls, value: str | float) -> str | float:
        if isinstance(value, float) and not 0.0 <= value <= 1.0:
            raise ValueError("a toxicity threshold must be from 0 to 1")
        return value

    @field_validator("personal", "toxicity", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: object) -> object:
        return "off" if value is False else value

    def personal_action(self, kind: PersonalKind) -> Action:
        """What to do with personal data of a kind."""
        return self.personal.get(kind, "off") if isinstance(self.personal, dict) else self.personal
