"""Judge what the router makes of a request or an answer, as vLLM would read it.

vLLM reads a body with Starlette's Request.json(), which is json.loads(bytes).
Here the same function reads what the client sent and what the router passes
on, and this file, which shares no code and no idea with the router, says
whether the two mean what they must. Standard library only.

Messages on stdin and stdout: fields, each a big-endian 4-byte length and its
bytes, preceded by their number in one byte. An answer is one field, a text,
empty if there is no difference. The judge ends at the end of stdin.
"""

import ipaddress
import json
import re
import struct
import sys
import traceback
from json.decoder import JSONDecoder, scanstring

TRANSFER = ("kv_transfer_params", "ec_transfer_params")
ASK = {
    "do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None,
    "remote_block_ids": None, "remote_host": None, "remote_port": None,
}
# What leg 1 must carry, whatever the client sent; ABSENT is no such member.
ABSENT = object()
COMPLETIONS = {
    "stream": False, "max_tokens": 1, "stream_options": ABSENT, "min_tokens": ABSENT,
    "min_completion_tokens": ABSENT, "kv_transfer_params": ASK,
}
LEG_ONE = {
    "/v1/completions": COMPLETIONS,
    "/v1/chat/completions": {**COMPLETIONS, "max_completion_tokens": 1},
    "/v1/responses": {
        "stream": False, "max_output_tokens": 1, "store": False, "stream_options": ABSENT,
        "kv_transfer_params": ASK,
    },
    "/v1/messages": {"stream": False, "max_tokens": 1, "kv_transfer_params": ASK},
}

# The closed list of what the router refuses though Python reads it.
# docs/router.md has the reason of each.
MOST_MEMBERS, DEEPEST = 1024, 500


class Difference(Exception):
    pass


def want(condition, what):
    if not condition:
        raise Difference(what)


# -- reading ----------------------------------------------------------------


def read(raw):
    """The value as vLLM gets it, or None and why there is none."""
    try:
        return json.loads(raw), None
    except (ValueError, RecursionError) as e:  # FastAPI answers both with 400
        return None, f"{type(e).__name__}: {e}"


class Seen:
    """Whether a document has constants that JSON does not know."""

    def __init__(self):
        self.constant = False

    def constants(self, name):
        self.constant = True
        return float(name)


SPACE = " \t\n\r"
SCAN = JSONDecoder(parse_int=lambda s: s, parse_float=lambda s: s, parse_constant=lambda s: s).scan_once


def skip(text, i):
    while i < len(text) and text[i] in SPACE:
        i += 1
    return i


def members(text):
    """The members of an object that json.loads has read: name, the name's
    source, the value's source."""
    out = []
    i = skip(text, skip(text, 0) + 1)
    while text[i] != "}":
        name, end = scanstring(text, i + 1, True)
        source = text[i:end]
        start = skip(text, skip(text, end) + 1)
        _, end = SCAN(text, start)
        out.append((name, source, text[start:end]))
        i = skip(text, end)
        if text[i] == ",":
            i = skip(text, i + 1)
    return out


def excused(raw, value):
    """Why the router may refuse what Python reads, None if it may not."""
    if not isinstance(value, dict):
        return "no object"  # vLLM answers 400 as well
    if json.detect_encoding(raw) != "utf-8":
        return "encoding"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes that are not UTF-8"
    if depth_in_source(text) > DEEPEST:  # first, as what follows calls deeper than json.loads alone
        return "depth"
    seen = Seen()
    pairs = []
    json.loads(text, parse_constant=seen.constants, object_pairs_hook=lambda p: pairs.append(len(p)) or dict(p))
    if seen.constant:
        return "NaN or Infinity"
    xargs = [source for key, _, source in members(text) if key == "vllm_xargs"]
    if pairs[-1] > MOST_MEMBERS or xargs and xargs[-1][0] == "{" and len(members(xargs[-1])) > MOST_MEMBERS:
        return "members"
    return None


def depth_in_source(text):
    """How deep brackets nest; a repeated name may hide a deep value."""
    deepest = level = 0
    i = 0
    while i < len(text):
        c = text[i]
        if c == '"':
            _, i = scanstring(text, i + 1, True)
            continue
        if c in "[{":
            level += 1
            deepest = max(deepest, level)
        elif c in "]}":
            level -= 1
        i += 1
    return deepest


# -- a request --------------------------------------------------------------


def judge_request(endpoint, verdict, body, leg1, leg2, params, model, request_id):
    endpoint, verdict = endpoint.decode(), verdict.decode()
    value, why = read(body)
    if verdict == "refused":
        if why is None and excused(body, value) is None and not refused_by_vllm(value):
            raise Difference("refused, but Python reads it and no exception covers it")
        return
    text = accepted(body, value, why)
    judge_leg("leg 1", text, value, leg1, leg_one(endpoint, value, request_id.decode()))
    given, why = read(params)
    want(why is None, f"params cannot be read: {why}")
    judge_leg("leg 2", text, value, leg2, {"kv_transfer_params": given})
    judge_decision(endpoint, value, verdict, model)


def accepted(body, value, why):
    """The text of a request that the router has accepted."""
    want(why is None, f"accepted, but Python cannot read it: {why}")
    want(isinstance(value, dict), "accepted, but it is no object")
    want(json.detect_encoding(body) == "utf-8", "accepted in another encoding than UTF-8")
    return body.decode("utf-8")


def leg_one(endpoint, value, request_id):
    if endpoint == "/v1/responses" and "request_id" not in value:
        return {**LEG_ONE[endpoint], "request_id": "resp_" + request_id}
    return LEG_ONE[endpoint]


def refused_by_vllm(value):
    """The only member whose type the router judges itself."""
    model = value.get("model")
    return model is not None and (not isinstance(model, str) or lone(model))


def judge_leg(name, text, value, leg, edits):
    got, why = read(leg)
    want(why is None, f"{name}: Python cannot read it: {why}")
    want(isinstance(got, dict), f"{name}: no object")
    want(same(got, expected(value, edits)), f"{name}: means something else than decided")
    leg_text = leg.decode("utf-8")
    sent = members(leg_text)
    edited = set(edits) | set(TRANSFER)
    # Every other member is passed on with its source, in its order.
    before = [m for m in members(text) if m[0] not in edited and m[0] != "vllm_xargs"]
    after = [m for m in sent if m[0] not in edited and m[0] != "vllm_xargs"]
    want(before == after, f"{name}: a member is not as the client wrote it")
    for key in edited:
        times = sum(m[0] == key for m in sent)
        want(times == (0 if edits.get(key, ABSENT) is ABSENT else 1), f"{name}: {key} is there {times} times")
    if "vllm_xargs" in value:
        judge_xargs(name, text, sent)


def expected(value, edits):
    out = {k: v for k, v in value.items() if k not in TRANSFER and k not in edits}
    out.update((k, v) for k, v in edits.items() if v is not ABSENT)
    if isinstance(out.get("vllm_xargs"), dict):
        out["vllm_xargs"] = {k: v for k, v in out["vllm_xargs"].items() if k not in TRANSFER}
    return out


def judge_xargs(name, text, sent):
    """No reader, whichever of several it prefers, finds a transfer key."""
    sources = [source for key, _, source in sent if key == "vllm_xargs"]
    for source in sources:
        if source[0] == "{":
            want(not any(m[0] in TRANSFER for m in members(source)), f"{name}: a transfer key is left in vllm_xargs")
    was = [source for key, _, source in members(text) if key == "vllm_xargs"][-1]
    want(sources, f"{name}: vllm_xargs is gone")
    if was[0] == "{":
        kept = [m for m in members(was) if m[0] not in TRANSFER]
        want(members(sources[-1]) == kept, f"{name}: a member of vllm_xargs is not as the client wrote it")
    else:
        want(sources[-1] == was, f"{name}: vllm_xargs is not as the client wrote it")


def same(a, b):
    """Equality that tells 1 from True and 1.0, and knows NaN."""
    todo = [(a, b)]
    while todo:
        a, b = todo.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            if a.keys() != b.keys():
                return False
            todo.extend((a[k], b[k]) for k in a)
        elif isinstance(a, list):
            if len(a) != len(b):
                return False
            todo.extend(zip(a, b))
        elif a != b and not (a != a and b != b):
            return False
    return True


def judge_decision(endpoint, value, verdict, model):
    """What the router has decided by must be what Python reads."""
    name = value.get("model")
    if name is None:
        want(model == b"", "the router knows a model where there is none")
    elif isinstance(name, str):
        want(not lone(name) and name.encode() == model, "the router has read another model")
    if verdict == "disaggregated":
        judge_carried(endpoint, value)


def judge_carried(endpoint, value):
    for key, harmless in CARRIED[endpoint].items():
        got = value.get(key)
        want(got is None or any(same(got, h) for h in harmless), f"disaggregated with {key}")
    CARRIED_IF[endpoint](value)


# Members that two legs carry only with these values, or none.
PLAIN = {
    "n": [1], "best_of": [1], "use_beam_search": [False], "prompt_embeds": [[]],
    "prompt_logprobs": [], "echo": [False],
}
CARRIED = {
    "/v1/completions": PLAIN,
    "/v1/chat/completions": {**PLAIN, "tool_choice": ["auto", "none"]},
    "/v1/responses": {
        "background": [False], "previous_response_id": [], "truncation": ["disabled"],
        "tool_choice": ["auto", "none"],
    },
    "/v1/messages": {},
}


def carried_chat(value):
    truncation = value.get("truncate_prompt_tokens")
    want(truncation is None or number(truncation) and truncation >= 0, "disaggregated with truncate_prompt_tokens")


def carried_completion(value):
    carried_chat(value)
    prompt = value.get("prompt")
    if isinstance(prompt, list) and len(prompt) > 1:
        want(number(prompt[0]), "disaggregated with several prompts")


def carried_response(value):
    tools = value.get("tools")
    want(tools is None or isinstance(tools, list), "disaggregated with tools that are no list")
    want(all(typed(t, "function", "custom", "namespace") for t in tools or []), "disaggregated with a tool that vLLM runs")


def carried_message(value):
    choice = value.get("tool_choice")
    want(choice is None or typed(choice, "auto", "none"), "disaggregated with tool_choice")


CARRIED_IF = {
    "/v1/completions": carried_completion, "/v1/chat/completions": carried_chat,
    "/v1/responses": carried_response, "/v1/messages": carried_message,
}
# The members that these functions look at.
LOOKED_AT = {
    "/v1/completions": ("truncate_prompt_tokens", "prompt"), "/v1/chat/completions": ("truncate_prompt_tokens",),
    "/v1/responses": ("tools",), "/v1/messages": ("tool_choice",),
}


def typed(value, *names):
    return isinstance(value, dict) and value.get("type") in names


def lone(s):
    """Whether a text has a surrogate without its other half."""
    return any("\ud800" <= c <= "\udfff" for c in s)


def number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def integer(v):
    return isinstance(v, int) and not isinstance(v, bool)


# -- a prefill's answer -----------------------------------------------------


def judge_answer(verdict, answer, params, engine, host, port, request):
    verdict = verdict.decode()
    value, why = read(answer)
    if verdict == "refused":
        want(why is not None or refusable(answer, value),
             "a handoff is refused that Python reads and that is fit")
        return
    given, source = taken(answer, value, why)
    passed, why = read(params)
    want(why is None, f"what is passed on cannot be read: {why}")
    want(same(passed, given), "what is passed on is not what the prefill said")
    want(source.encode() == params, "what is passed on is not as the prefill wrote it")
    for key, got in (("remote_engine_id", engine), ("remote_host", host), ("remote_request_id", request)):
        want(not lone(given[key]) and given[key].encode() == got, f"the router has read another {key}")
    want(str(given["remote_port"]).encode() == port, "the router has read another remote_port")


def taken(answer, value, why):
    """The params of an answer that the router has taken, and their source."""
    want(why is None, f"a handoff is taken from what Python cannot read: {why}")
    want(isinstance(value, dict), "a handoff is taken from what is no object")
    fault = unfit(value)
    want(fault is None, f"a handoff is taken: {fault}")
    source = [m[2] for m in members(answer.decode("utf-8")) if m[0] == "kv_transfer_params"][-1]
    return value["kv_transfer_params"], source


# A block's number may be refused as this: to Python it is 0, and vLLM writes none.
MINUS_ZERO = re.compile(rb"[\[,]\s*-0\s*[\],]")


def refusable(answer, value):
    """Why a handoff that can be read may be refused, None if it may not."""
    return excused(answer, value) or unfit(value) or (MINUS_ZERO.search(answer) and "a negative zero")


def unfit(value):
    """Why a decode must not get this handoff, None if it may."""
    p = value.get("kv_transfer_params")
    if not isinstance(p, dict):
        return "no params"
    if p.get("do_remote_prefill") is not True or p.get("do_remote_decode") not in (None, False) or number(p.get("do_remote_decode")):
        return "flags"
    for key in ("remote_engine_id", "remote_host", "remote_request_id"):
        if not isinstance(p.get(key), str) or p[key] == "" or lone(p[key]):
            return key
    if not integer(p.get("remote_port")) or not 1 <= p["remote_port"] <= 65535:
        return "remote_port"
    size = p.get("tp_size")
    if size is not None and not (integer(size) and 1 <= size < 2**63):
        return "tp_size"
    blocks = p.get("remote_block_ids")
    if not isinstance(blocks, list):
        return "remote_block_ids"
    groups = blocks if all(isinstance(b, list) for b in blocks) else [blocks]
    if not all(integer(b) and b >= 0 for g in groups for b in g):
        return "remote_block_ids"
    return None


# -- through the whole router -----------------------------------------------


def judge_routed(endpoint, body, status, path, reason, told, request_id, answer, asked, *legs):
    """legs are the bodies that instances got, the first so many (asked) the
    prefill; answer is what that says, whenever it is asked."""
    endpoint, status, path, reason, request_id = (b.decode() for b in (endpoint, status, path, reason, request_id))
    if status == "400":
        want(not legs, f"refused, but {len(legs)} legs were sent")
        judge_told(endpoint, told)
        judge_request(endpoint.encode(), b"refused", body, b"", b"", b"", b"", b"")
        return
    want(status == "200", f"the client got {status}")
    value, why = read(body)
    text = accepted(body, value, why)
    want(not refused_by_vllm(value), "accepted with a model that is no text")
    ones, twos = legs[:int(asked)], legs[int(asked):]
    want(len(twos) == 1, f"the decode was asked {len(twos)} times")
    if path == "local" and reason in UNSUPPORTED:
        want(not ones, "local, but the prefill was asked")
        why = [k for k in (*CARRIED[endpoint], *LOOKED_AT[endpoint]) if value.get(k) is not None]
        want(why, f"local ({reason}) for no member")
        judge_leg("the only leg", text, value, twos[0], {})
        return
    want(len(ones) == 1, f"the prefill was asked {len(ones)} times")
    judge_leg("leg 1", text, value, ones[0], leg_one(endpoint, value, request_id))
    judge_carried(endpoint, value)
    said, why = read(answer)
    if path == "local":
        want(reason in REFUSED, f"local after leg 1: {reason}")
        want(why is not None or refusable(answer, said) or foreign(said, request_id),
             "a handoff is refused that Python reads and that is fit")
        judge_leg("the leg without the handoff", text, value, twos[0], {})
        return
    want(path == "disaggregated" and reason == "", f"path {path}, reason {reason}")
    given, source = taken(answer, said, why)
    want(not foreign(said, request_id), "a handoff is taken that is another's")
    judge_leg("leg 2", text, value, twos[0], {"kv_transfer_params": given})
    passed = [m[2] for m in members(twos[0].decode("utf-8")) if m[0] == "kv_transfer_params"]
    want(passed == [source], "leg 2: the params are not as the prefill wrote them")


# Why a request goes to a decode alone: by what it asks, and by what a prefill said.
UNSUPPORTED = ("multiple_choices", "list_prompt", "unsupported_request")
REFUSED = ("prefill_failed", "no_transfer_params")


def judge_told(endpoint, told):
    """A refusal is told in the endpoint's shape."""
    value, why = read(told)
    want(why is None, f"the client's error cannot be read: {why}")
    error = value.get("error") if isinstance(value, dict) else None
    want(isinstance(error, dict), "the client's error is none")
    texts = [error.get("message"), error.get("type")]
    want(all(isinstance(t, str) and t for t in texts), "the client's error has no message or no type")
    if endpoint == "/v1/messages":
        want(value.get("type") == "error" and error.keys() == {"type", "message"}, "the client's error is not in Anthropic's shape")
    else:
        want(error.keys() == {"message", "type", "param", "code"} and error["code"] == 400, "the client's error is not in OpenAI's shape")


def foreign(value, request_id):
    """Whether fit params are another request's, or of no address."""
    p = value["kv_transfer_params"]
    if request_id not in p["remote_request_id"]:
        return True
    try:
        ip = ipaddress.ip_address(p["remote_host"])
    except ValueError:
        return False  # a name
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_unspecified or ip.is_multicast


# -- talking ----------------------------------------------------------------

JUDGES = {b"request": judge_request, b"answer": judge_answer, b"routed": judge_routed}


def receive(stream):
    count = stream.read(1)
    if not count:
        return None
    return [stream.read(struct.unpack(">I", stream.read(4))[0]) for _ in range(count[0])]


def main():
    while (fields := receive(sys.stdin.buffer)) is not None:
        text = ""
        try:
            JUDGES[fields[0]](*fields[1:])
        except Difference as e:
            text = str(e)
        except Exception:
            text = "the judge broke down: " + traceback.format_exc()
        said = text.encode("utf-8", "backslashreplace")
        sys.stdout.buffer.write(b"\x01" + struct.pack(">I", len(said)) + said)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
