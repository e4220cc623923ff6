"""The module under test with a trap in it: one exported function does nothing but trap. Only tests ever have this file.

The rest is byte for byte what is released, so that what recovers is what is shipped.
"""

#: Ids of a module's sections.
IMPORT, FUNCTION, EXPORT, CODE = 2, 3, 7, 10
#: No locals; unreachable; end.
BODY = b"\x00\x00\x0b"


def with_trap(module, export):
    """The bytes of `module` with the body of its exported function replaced by a trap."""
    sections = list(_sections(module))
    of = {kind: body for kind, body in sections}
    at = _exported(of[EXPORT], export) - _imported(of[IMPORT])
    trapped = [(kind, _replaced(body, at) if kind == CODE else body) for kind, body in sections]
    return module[:8] + b"".join(bytes([kind]) + _number(len(body)) + body for kind, body in trapped)


def _sections(module):
    at = 8
    while at < len(module):
        kind = module[at]
        size, at = _read(module, at + 1)
        yield kind, module[at:at + size]
        at += size


def _exported(body, name):
    """The index of an exported function."""
    count, at = _read(body, 0)
    for _ in range(count):
        size, at = _read(body, at)
        found, kind = body[at:at + size].decode(), body[at + size]
        index, at = _read(body, at + size + 1)
        if (found, kind) == (name, 0):
            return index
    raise LookupError(f"the module exports no function {name}")


def _imported(body):
    """How many functions are imported; their indices come first. (Nothing else is.)"""
    count, at = _read(body, 0)
    for _ in range(count):
        for _ in range(2):
            size, at = _read(body, at)
            at += size
        assert body[at] == 0, "an import that isn't a function"
        _, at = _read(body, at + 1)
    return count


def _replaced(body, at_function):
    count, at = _read(body, 0)
    parts = [_number(count)]
    for number in range(count):
        size, start = _read(body, at)
        code = BODY if number == at_function else body[start:start + size]
        parts.append(_number(len(code)) + code)
        at = start + size
    return b"".join(parts)


def _read(data, at):
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _number(value):
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7f
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)
