"""How LMMs word the answers in which `request_reader` looks for a request."""

from __future__ import annotations

import re

_CASELESS = re.IGNORECASE | re.VERBOSE
_IMAGE = r"(?:image|photo(?:graph)?|picture|scene|frame|view)"

SPECIAL_TOKEN = re.compile(
    r"""<\|[^|<>]{1,40}\|> | </?s> | <(?:eos|bos|pad|unk|end_of_turn|start_of_turn)> | \[/?INST\]
        | \[(?:SEP|CLS|PAD|BOS|EOS)\] | <0x[0-9A-F]{2}> | \\n | [\u200b-\u200d\u2060\ufeff]""",
    re.VERBOSE,
)
TAG = re.compile(r"</?[a-z_]{1,20}>")
TAG_WITHIN = re.compile(r"</?(?:ref|box|quad|obj|object|phrase|target|p|b|i)>")
"""Of a phrase within a line, and of its place."""
_NUMBERS = r"[\[(<]+\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)+\s*[\])>]+"
PLACES = re.compile(rf"\s*(?:\bat\s+)?{_NUMBERS}(?:\s*,?\s*{_NUMBERS})*")
"""Boxes and points, which some models write beside a phrase."""
BOXED = re.compile(r"\$*\\(?:boxed|text|textbf)\{([^{}]*)\}\$*")
"""What LaTeX sets in a box."""
SPEAKER = re.compile(
    r"^.*?(?:\b(?:ASSISTANT|Assistant|assistant|model)\s*:|\[/INST\]|<\|assistant\|>|<\|im_start\|>\s*assistant\b)\s*",
    re.DOTALL,
)
"""What stands before the answer where the whole conversation is given back."""
NEXT_TURN = re.compile(r"\s(?:Instruction|Input|Question|Query|User|USER|Human)\s*:.*", re.DOTALL)
"""A further turn of its own making, which some models append to their answer."""
MARKUP = re.compile(r"\*\* | __ | `+(?:json|text)? | ^\#+\s* | ^>\s*", re.MULTILINE | re.VERBOSE)
QUOTES = "\"'“”„«»`"
BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.):]|\([a-h]\))\s+")
NUMBER_WITHIN = re.compile(r"\s+\(?\d{1,2}[.)]\s+")
"""Of an entry in a list within one line."""
LABEL = re.compile(
    r"""^(?:(?:(?:sure|ok(?:ay)?|certainly|of\ course|absolutely|yes)[,!.]?\s+)?here(?:'s|\ is)[^:]*:
        |(?:my\ |the\ |final\ |your\ )*(?:answer|output|result|line)s?\s*(?:is\s*:?|:|=))\s*""",
    _CASELESS,
)
"""What stands before the answer in its own line."""
FIND = re.compile(
    r"(?:^|[.!:]\s+|\b(?:answer|output|result|line) (?:is|would be|should be):?\s+[\"'“`]*)(?:find\b\s*[:=→\-]*>?\s*)+",
    re.IGNORECASE,
)
FIND_WITHIN = re.compile(r"[\s,;]+(?:(?:and|then)\s+)*find\s+", re.IGNORECASE)
_LOOK = (
    r"(?:look\ (?:at|for)|search\ for|find|locate|detect|segment|identify|focus\ on|point\ (?:at|to)"
    r"|pay\ attention\ to)"
)
_WHO = r"(?:i|you|one|we|the\ robot)"
_MUST = r"(?:'d|\ would|\ should|\ must|\ needs?\ to|\ ha(?:s|ve)\ to|\ will|\ can)"
SENTENCES = (
    re.compile(
        rf"""^(?:the\ )?(?:target\ |main\ |relevant\ |requested\ |required\ )*
            (?:targets?|objects?|things?|items?|phrases?)(?:\ in\ the\ {_IMAGE})?
            (?:\ to\ {_LOOK}
              |\ (?:that\ )?{_WHO}(?:\ want|\ need|'re\ looking\ for|\ are\ looking\ for)
              |\ (?:that\ )?{_WHO}{_MUST}\ \w+(?:\ (?:at|for|on))?)?
            \s*(?:is|are|would\ be|:)+\s*(.+)""",
        _CASELESS,
    ),
    re.compile(rf"(?:^|^.{{0,80}}\b{_WHO}{_MUST}\ |^{_WHO}\ |^let(?:['’]s|\ us|\ me)\ ){_LOOK}\s*:?\s+(.+)", _CASELESS),
    re.compile(rf"^{_WHO}(?:\ am|\ are|\ is|['’]m|['’]re)\ looking\ (?:at|for)\s+(.+)", _CASELESS),
    re.compile(
        rf"""^(?:the|this|your)\ (?:instruction|task|question|request|command|prompt)
            \ (?:(?:requires?|asks?|needs?|wants?)(?:\ (?:you|me|us|the\ robot))?(?:\ to)?
                  \ (?:{_LOOK}|looking\ (?:at|for)|finding|locating|detecting|identifying|for|about)
              |is\ (?:asking\ )?about|concerns|refers\ to)\ (.+)""",
        _CASELESS,
    ),
    re.compile(
        rf"^(.+?)\ (?:is|are)\ (?:(?:the\ )?(?:targets?|objects?|things?)\b|what\ {_WHO}{_MUST}\ {_LOOK}).*", _CASELESS
    ),
)
"""Sentences that name the targets in their first group."""
STOP = re.compile(r"(?<=[.!?])\s+")
PURPOSE_FIRST = re.compile(
    r"^(?:in order )?to (?:follow|answer|do|carry out|perform|complete)\b[^,]{0,60},\s*", re.IGNORECASE
)
"""What may stand before such a sentence."""
_FIELDS = "(targets?|objects?|find|relation|anchor|scope|count|order)"
FIELD = re.compile(rf"^{_FIELDS}\s*[:=]\s*(\S.*)$")
NEXT_FIELD = re.compile(rf"\s*[;,|]\s*(?={_FIELDS.replace('(', '(?:')}\s*[:=])", re.IGNORECASE)
OTHER_TONGUES = {
    tongue: re.compile(rf"^{verbs}[\s:]+(?:{articles})?" if articles else rf"^{verbs}[\s:]*", re.IGNORECASE)
    for tongue, verbs, articles in (
        ("Spanish", r"(?:encuentr[ae]|encontrar|busc(?:a|ar|que)|localiz(?:a|ar)|señal[ae])", "(?:el|l[ao]s?|una?) "),
        ("French", r"(?:trouve[zr]?|cherche[zr]?|rep[ée]re[zr]?|localise[zr]?)\b", ""),
        ("German", r"(?:finden? sie|finde|such(?:e|en sie))\b", "(?:der|die|das|den|eine?n?) "),
        ("Italian", r"(?:trova(?:te|re)?|cerca(?:te|re)?)\b", ""),
        ("Portuguese", r"(?:encontr[ea]|procur[ea]|ache|localize)", "(?:[oa]s?|uma?) "),
        ("Dutch", r"(?:vind|zoek)", "(?:de|het|een) "),
        ("Russian", r"(?:найди(?:те)?|найти)", ""),
        ("Chinese", r"(?:找到|查找|寻找|找出)", ""),
    )
}
""" "Find the" in other languages; French and Italian articles melt into their nouns, so they stay."""
REFUSAL = re.compile(
    r"""\b(?:i(?:'|’|\ a)m\ sorry | sorry,\ (?:but\ )?i | i\ (?:can(?:'|’)?t|cannot|am\ unable) | as\ an\ ai
        | i(?:'|’)m\ unable | i\ apologi[sz]e | unable\ to\ (?:help|assist))""",
    _CASELESS,
)
NOTHING = re.compile(
    r"""^(?:none(?:\ of\ .*)?
        | nothing(?:\ (?:to\ (?:find|point\ at|look\ at)|specific|in\ particular))? | n/?a | null | nil
        | not\ applicable
        | (?:there\ (?:is|are)\ )?(?:no|nothing|not\ any)\b.*
          \b(?:objects?|targets?|things?|items?|find|look\ at|needed|point\ at).*
        )$""",
    re.VERBOSE,
)
"""A phrase that says that there is nothing to look at."""
WHOLE_IMAGE = re.compile(
    rf"""^(?:the\ )?(?:(?:whole|entire|full|complete|overall)\ )?{_IMAGE}(?:\ as\ a\ whole|\ itself)?$
        | ^everything\ in\ (?:the\ )?{_IMAGE}$""",
    re.VERBOSE,
)
VAGUE = re.compile(
    r"""^(?:it|this|that|these|those|them|he|she|they|him|her|all|yes|no|ok(?:ay)?|sure|done|something|anything
        |everything|someone|anyone|ones?\b.*|(?:left|right|other|same|big|small|first|last)\ ones?
        | (?:the\ )?(?:things?|objects?|items?|targets?|answer|instruction|phrase|anchor))$""",
    re.VERBOSE,
)
"""A phrase that names nothing that can be searched for."""
_SEEN = ("colou?r", "shape", "size", "material", "texture", "pattern", "location", "position", "orientation", "state")
_ATTRIBUTE = f"(?:the )?(?:{'|'.join(_SEEN)}|condition|temperature|age)"
ATTRIBUTE = re.compile(rf"^{_ATTRIBUTE}$")
ATTRIBUTE_OF = re.compile(rf"^{_ATTRIBUTE} of (?:the )?|['’]s {_ATTRIBUTE}$")
"""What can be seen of a thing and is none itself."""
QUESTION = re.compile(r"^(?:what|who|whom|whose|which|where|when|why|how)\b")
OF_THE_IMAGE = re.compile(
    rf"\b(left|right|top|bottom|cent(?:er|re)|middle|corner|edge|foreground|background)(?:[ -]hand)?"
    rf"(?: (?:side|part|half|portion|area|edge))? of (?:the|this) {_IMAGE}\b"
)
"""A place in the picture, which is no relation to a thing."""
IN_THE_IMAGE = re.compile(rf"\s+(?:(?:visible|shown|seen) )?in (?:the|this) {_IMAGE}\b")
"""Everything is there."""
MANNERS = re.compile(
    r"^(?:please|first|then)$|^(?:please|then|finally) |(?:,? (?:first|then|next|please|too|as well))$"
)
_DO = (
    "open|close|pick|grab|grasp|take|lift|hold|use|move|put|place|press|push|pull|turn|switch|answer|read|see|check|drink|eat"
    "|cut|wash|clean|sit|wear|reach|follow|complete|perform|avoid|count|identify|determine|locate"
)
ASIDE = re.compile(
    rf"""\s*(?:,?\s*(?:so\ that|in\ order\ to|because|so\ (?:you|i|we|it)|since\ (?:it|the|you)
        |as\ (?:it|they)\ (?:is|are)|which\ (?:you|will|should))\b.*
        | \s+\(?to\ be\ \w+.* | \s+\(?to\ (?:{_DO})\ (?:the|it|them|an?|this|that|your|his|her)\b.*
        | \s*,?\s*\(?(?:e\.g\.|i\.e\.|for\ example|such\ as)\s.*
        | \s+for\ \w+ing\ (?:the|it|them|an?)\b.* | \s[-–—]\s.* | [.!?]\s+[A-Z].*)$""",
    re.DOTALL | re.VERBOSE,
)
"""A purpose, or another sentence, after the phrases."""
ROLE = re.compile(
    r"\s*\((?:the )?(?:(?:target|reference)(?: (?:object|location|point))?|destination|anchor|location|source|goal)\)",
    re.IGNORECASE,
)
"""What a thing is for the instruction, said beside it."""
EXPLAINED = re.compile(r"^(?P<thing>[^:]{2,80}?)\s*:\s+\S.*$")
"""An entry of a list with its explanation."""
COUNT_BEHIND = re.compile(r"^(?P<things>.*\w)\s*\((?:x|×)?\s*(?P<count>\d{1,2})\s*x?\)$", re.IGNORECASE)
ARROW = re.compile(r"\s*(?:[-=]+>|→|⇒)\s*")
PROMPT = re.compile(r"\bPHRASE\b|\bANCHOR\b|\bRELATION\b|What should I find\?")
"""Words of the prompts that no answer has."""
PREDICATE = re.compile(
    rf"""^(?:i|you|we|it|there|he|she|they)\b | n['’]t\b
        | \b(?:is|are|was|were|has|have|does|do|can|could|would|should|shows?|appears?|depicts?|needs?|refers?|requires?
            |asks?|wants?|means?)\b
        | ^(?:{_DO}|bring|give|hand|pour|stack|wipe|describe|tell)
            \ (?:(?:up|down|out|away|off|the|an?|it|this|that|your|me|all)\b|.*\b(?:on|in|into|onto|to)\b)""",
    _CASELESS,
)
"""What a sentence has and a bare phrase has not; an instruction that is only repeated is none either."""
