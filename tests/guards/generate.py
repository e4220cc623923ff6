#!/usr/bin/env python3
"""Writes generated.txt: lines labelled with the personal data and the secrets in them, half of them hard negatives.

It makes values from the definitions (Luhn, ISO 13616, E.164, base64 of a real JWT header) and shares no code and no
table with the detectors in src/guard. A fixed seed: the same file each time. Usage: generate.py > generated.txt
"""

import base64
import datetime
import hashlib
import json
import random
import string
import uuid

R = random.Random(20261121)
UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
BASE62 = UPPER + LOWER + DIGITS
BASE64URL = BASE62 + "-_"


def some(alphabet, n):
    return "".join(R.choice(alphabet) for _ in range(n))


def pick(*items):
    return R.choice(items)


def mark(kind, value):
    return f"⟦{kind}:{value}⟧"


# ── Values that are what they look like ──────────────────────────────────────────────────────────────────────────────

FIRST = "anna ben carla dmitri elif farid grace hiro ines jonas kwame lena miguel nadia oskar priya quinn rosa sven tara".split()
LAST = "abiola brandt costa dubois eriksen fischer garcia haddad ito jensen kowalski lindqvist moreau novak okafor petrov".split()
DOMAIN = "acme example contoso fabrikam northwind globex initech umbrella stark-industries my-shop hooli wayne".split()
TLD = "com org net de fr co.uk io dev es com.br jp eu info health museum it nl se ch at".split()


def email():
    a, b = R.choice(FIRST), R.choice(LAST)
    local = pick(f"{a}.{b}", a, f"{a[0]}{b}", f"{a}_{b}", f"{a}-{b}", f"{a}+news", f"{a}{R.randint(1, 2009)}",
                 f"{a}.{b}+{some(LOWER, 4)}", f"{a.title()}.{b.title()}", f"{a}.o'{b}", f"%{a}"[1:], f"{b}{R.randint(70, 99)}")
    host = pick("", "", "", "mail.", "eu.corp.") + R.choice(DOMAIN) + "." + R.choice(TLD)
    return local + "@" + pick(host, host, host, host.upper() if R.random() < .3 else host)


PLANS = {  # country code: (groups of the national number), from national numbering plans
    "1": [(3, 3, 4)], "44": [(2, 4, 4), (4, 6), (3, 3, 4)], "49": [(2, 8), (3, 7), (4, 3, 4), (3, 4, 4)],
    "33": [(1, 2, 2, 2, 2)], "39": [(2, 4, 4), (3, 3, 4)], "34": [(3, 3, 3), (3, 2, 2, 2)], "31": [(2, 3, 4), (1, 4, 4)],
    "41": [(2, 3, 2, 2)], "43": [(1, 7), (3, 3, 4)], "46": [(2, 3, 2, 2)], "47": [(2, 2, 2, 2), (3, 2, 3)],
    "48": [(3, 3, 3)], "55": [(2, 5, 4)], "61": [(1, 4, 4), (3, 3, 3)], "81": [(2, 4, 4), (1, 4, 4)], "86": [(3, 4, 4)],
    "91": [(5, 5), (4, 3, 3)], "353": [(2, 3, 4)], "351": [(3, 3, 3)], "972": [(2, 3, 4)], "971": [(2, 3, 4)],
    "234": [(3, 3, 4)], "27": [(2, 3, 4)], "52": [(2, 4, 4)], "420": [(3, 3, 3)], "380": [(2, 3, 4)], "65": [(4, 4)],
}


def phone():
    code = R.choice(list(PLANS))
    groups = [str(R.randint(2, 9)) + some(DIGITS, n - 1) for n in R.choice(PLANS[code])]
    if code == "1":
        groups[0], groups[1] = str(R.randint(2, 9)) + "0" + some("123456789", 1), str(R.randint(2, 9)) + some(DIGITS, 2)
    form = R.random()
    if form < .3:
        return "+" + code + "".join(groups)
    if form < .62:
        return "+" + code + " " + " ".join(groups)
    if form < .8:
        return "+" + code + "-" + "-".join(groups)
    if form < .87:
        return "+" + code + "." + ".".join(groups)
    return f"+{code} ({groups[0]}) " + pick("-", " ").join(groups[1:])


def luhn_digit(body):
    total = 0
    for i, c in enumerate(reversed(body)):
        d = int(c) * (2 if i % 2 == 0 else 1)
        total += d - 9 if d > 9 else d
    return str(-total % 10)


def card_number():
    prefix, length = pick(("4", 16), ("4", 16), ("4", 13), ("5" + pick(*"12345"), 16), ("2" + str(R.randint(221, 720)).rjust(3, "0"), 16),
                          ("34", 15), ("37", 15), ("6011", 16), ("65", 16), ("36", 14), ("35" + str(R.randint(28, 89)), 16), ("62", 16))
    body = prefix + some(DIGITS, length - 1 - len(prefix))
    return body + luhn_digit(body)


def card():
    n = card_number()
    sep = pick("", "", " ", " ", "-")
    if len(n) == 16:
        return sep.join(n[i:i + 4] for i in range(0, 16, 4))
    if len(n) == 15:
        return sep.join((n[:4], n[4:10], n[10:]))
    if len(n) == 14:
        return sep.join((n[:4], n[4:10], n[10:]))
    return n


BBAN = {"DE": "18n", "FR": "10n11c2n", "GB": "4a14n", "ES": "20n", "IT": "1a10n12c", "NL": "4a10n", "CH": "5n12c", "AT": "16n",
        "BE": "12n", "PL": "24n", "SE": "20n", "NO": "11n", "DK": "14n", "FI": "14n", "PT": "21n", "IE": "4a14n", "LU": "3n13c",
        "CZ": "20n", "GR": "7n16c", "MT": "4a5n18c", "TR": "6n16c", "SA": "2n18c", "AE": "19n", "BR": "23n1a1c", "HU": "24n"}


def iban_number():
    country = R.choice(list(BBAN))
    spec, bban, n = BBAN[country], "", ""
    for c in spec:
        if c.isdigit():
            n += c
        else:
            bban += some({"n": DIGITS, "a": UPPER, "c": UPPER + DIGITS}[c], int(n))
            n = ""
    check = 98 - int("".join(str(int(c, 36)) for c in bban + country + "00")) % 97
    return f"{country}{check:02d}{bban}"


def grouped(text, n=4, sep=" "):
    return sep.join(text[i:i + n] for i in range(0, len(text), n))


def iban():
    n = iban_number()
    return pick(n, n, grouped(n))


def ssn():
    area = pick(R.randint(1, 665), R.randint(667, 899))
    return f"{area:03d}-{R.randint(1, 99):02d}-{R.randint(1, 9999):04d}"


def ipv4():
    return pick(f"10.{R.randint(0, 255)}.{R.randint(0, 255)}.{R.randint(1, 254)}", f"192.168.{R.randint(0, 255)}.{R.randint(1, 254)}",
                ".".join(str(x) for x in (R.randint(11, 223), R.randint(0, 255), R.randint(0, 255), R.randint(1, 254))))


def ipv6():
    groups = [pick("2001", "2a02", "2600", "fe80", "fd12", "2a00")] + [f"{R.getrandbits(16):x}" for _ in range(7)]
    cut = R.random()
    if cut < .4:
        return ":".join(groups)
    return ":".join(groups[:R.randint(2, 4)]) + "::" + ":".join(groups[R.randint(6, 7):])


def api_key():
    return pick(
        "sk-¦" + some(BASE62, 20) + "T3BlbkFJ" + some(BASE62, 20), "sk-proj-¦" + some(BASE64URL, 74) + "T3BlbkFJ" + some(BASE62, 40),
        "sk-ant-¦api03-" + some(BASE64URL, 93) + "AA", "AKIA¦" + some(UPPER + "234567", 16), "ghp_¦" + some(BASE62, 36),
        "gho_¦" + some(BASE62, 36), "github_pat_¦" + some(BASE62, 22) + "_" + some(BASE62, 59), "AIza¦" + some(BASE64URL, 34) + "k",
        "xoxb-¦" + some(DIGITS, 12) + "-" + some(DIGITS, 12) + "-" + some(BASE62, 24), "sk_live_¦" + some(BASE62, 24),
        "rk_live_¦" + some(BASE62, 24), "glpat-¦" + some(BASE62, 20), "hf_¦" + some(UPPER + LOWER, 34), "sk_test_¦" + some(BASE62, 24),
        "xoxp-¦" + "-".join(some(DIGITS, 12) for _ in range(3)) + "-" + some("0123456789abcdef", 32))


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt():
    header = {"alg": pick("HS256", "RS256", "ES256", "none"), "typ": "JWT"}
    if R.random() < .5:
        header = {"typ": "JWT", "alg": "RS256", "kid": some("0123456789abcdef", 12)}
    body = {"sub": str(R.randint(10**8, 10**9)), "name": R.choice(FIRST), "iat": 1790000000 + R.randint(0, 10**6)}
    text = lambda v: json.dumps(v, separators=(",", ":")).encode()
    return ".".join((b64url(text(header)), b64url(text(body)), b64url(R.randbytes(pick(32, 64, 256)))))


VALUES = {"email": email, "phone": phone, "card": card, "iban": iban, "ssn": ssn, "ip": lambda: pick(ipv4(), ipv4(), ipv6()),
          "api_key": api_key, "jwt": jwt}

# ── Values that only look like it ────────────────────────────────────────────────────────────────────────────────────


def failing_luhn():
    n = card_number()
    return n[:-1] + str((int(n[-1]) + R.randint(1, 9)) % 10)


def failing_iban():
    n = iban_number()
    return n[:2] + f"{(int(n[2:4]) + R.randint(1, 90)) % 97:02d}" + n[4:]


def impossible_ssn():
    return pick(f"{pick(0, 666, 900 + R.randint(0, 99)):03d}-{R.randint(1, 99):02d}-{R.randint(1, 9999):04d}",
                f"{R.randint(100, 665)}-00-{R.randint(1, 9999):04d}", f"{R.randint(100, 665)}-{R.randint(1, 99):02d}-0000")


def isbn13():
    body = "978" + some(DIGITS, 9)
    digit = str(-sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(body)) % 10)
    return pick(body + digit, f"978-{body[3]}-{body[4:8]}-{body[8:12]}-{digit}")


def moment():
    return datetime.datetime(2020, 1, 1) + datetime.timedelta(seconds=R.randint(0, 2 * 10**8))


def not_api_key():
    return pick("sk-learn", "sk-" + "x" * 40, "sk-your-api-key-here", "sk-...", "AKIA" + some(UPPER, 7), "ghp_" + some(LOWER, 9),
                "hf_transfer", "hf_hub_download_" + some(LOWER, 10), "sk_live_" + "…", "xoxb-your-token", "AIzaSy", "glpat-XXXXXXXXXXXXXXXXXXXX",
                "skip-" + some(LOWER, 20), "task-" + some(BASE62, 24), "disk-" + some("0123456789abcdef", 32), "risk_live_" + some(LOWER, 24))


NEGATIVES = {
    "order": lambda: pick(f"ORD-{some(DIGITS, 10)}", f"#{some(DIGITS, 8)}", f"order {failing_luhn()}", f"{some(DIGITS, 3)}-{some(DIGITS, 7)}-{some(DIGITS, 7)}",
                          f"SO{some(DIGITS, 9)}", f"PO {some(DIGITS, 10)}", f"RMA-{some(DIGITS, 3)}-{some(DIGITS, 2)}-{some(DIGITS, 5)}"),
    "hash": lambda: pick(hashlib.md5(R.randbytes(8)).hexdigest(), hashlib.sha1(R.randbytes(8)).hexdigest(), hashlib.sha256(R.randbytes(8)).hexdigest(),
                         "sha256:" + hashlib.sha256(R.randbytes(8)).hexdigest(), "sha512-" + base64.b64encode(hashlib.sha512(R.randbytes(8)).digest()).decode()),
    "commit": lambda: pick(hashlib.sha1(R.randbytes(8)).hexdigest()[:pick(7, 8, 12, 40)]),
    "version": lambda: pick("v" + ".".join(str(R.randint(0, 30)) for _ in range(3)), "v" + ".".join(str(R.randint(0, 30)) for _ in range(4)),
                            "version " + ".".join(str(R.randint(0, 30)) for _ in range(4)), f"Chrome/{R.randint(90, 140)}.0.{R.randint(1000, 7000)}.{R.randint(10, 200)}",
                            f"lodash@{R.randint(1, 9)}.{R.randint(0, 20)}.{R.randint(0, 9)}", f"{R.randint(0, 9)}.{R.randint(0, 20)}.{R.randint(0, 9)}+{some(DIGITS, 8)}",
                            f"libfoo-{R.randint(0, 9)}.{R.randint(0, 20)}.{R.randint(0, 9)}.{R.randint(0, 9)}.tar.gz", f"10.0.{R.randint(10000, 30000)}.{R.randint(300, 5000)}",
                            f"{R.randint(1, 9)}.{R.randint(0, 20)}.{R.randint(0, 9)}.{R.randint(0, 9)}-beta{R.randint(1, 9)}"),
    "uuid": lambda: str(uuid.UUID(int=R.getrandbits(128), version=4)),
    "time": lambda: pick(moment().isoformat() + pick("Z", "+01:00", "+0100", "-05:00"), moment().strftime("%Y-%m-%d %H:%M:%S"), str(int(moment().timestamp())),
                         str(int(moment().timestamp() * 1000)), str(int(moment().timestamp()) * 10**9 + R.randint(0, 10**9)), moment().strftime("%d.%m.%Y"),
                         moment().strftime("%H:%M:%S"), moment().strftime("%Y%m%d%H%M%S"), moment().strftime("%d/%b/%Y:%H:%M:%S +0000")),
    "isbn": isbn13,
    "gps": lambda: pick(f"{R.uniform(-90, 90):.6f}, {R.uniform(-180, 180):.6f}", f"{R.uniform(0, 90):+.4f}{R.uniform(0, 180):+09.4f}/",
                        f"{R.uniform(0, 90):+.6f}, {R.uniform(0, 99):+.6f}", f"geo:{R.uniform(0, 90):.5f},{R.uniform(0, 180):.5f}"),
    "part": lambda: pick(f"{some(UPPER, 2)}{some(DIGITS, 4)}-{some(DIGITS, 3)}", f"{some(DIGITS, 3)}-{some(DIGITS, 2)}-{some(DIGITS, 4)}-{some(DIGITS, 2)}",
                         f"{some(UPPER, 3)}-{some(DIGITS, 3)}-{some(DIGITS, 2)}-{some(DIGITS, 4)}", f"P/N {some(DIGITS, 5)}-{some(DIGITS, 5)}", f"{some(DIGITS, 4)}.{some(DIGITS, 3)}.{some(DIGITS, 3)}"),
    "price": lambda: pick(f"${R.randint(1, 9999):,}.{R.randint(0, 99):02d}", f"{R.randint(1, 999)}.{R.randint(100, 999)},{R.randint(0, 99):02d} €", f"+{R.randint(1, 99)},{R.randint(100, 999)}",
                          f"+{R.randint(1, 99)}.{R.randint(1, 9)}%", f"{R.randint(10**6, 10**9)} JPY", f"+{R.randint(10**4, 10**6 - 1)}"),
    "luhn": failing_luhn,
    "failing_iban": failing_iban,
    "impossible_ssn": impossible_ssn,
    "octets": lambda: pick(f"{R.randint(256, 999)}.{R.randint(0, 255)}.{R.randint(0, 255)}.{R.randint(0, 255)}", f"1.3.6.1.4.1.{R.randint(1, 9999)}.{R.randint(1, 9)}",
                           f"{R.randint(1, 9)}.{R.randint(1, 9)}.{R.randint(1, 9)}.", f"192.168.{R.randint(0, 255)}", f"10.{R.randint(0, 255)}.{R.randint(0, 255)}.{R.randint(256, 999)}"),
    "colons": lambda: pick(":".join(f"{R.getrandbits(8):02x}" for _ in range(6)), ":".join(f"{R.getrandbits(8):02x}" for _ in range(pick(8, 16, 20))),
                           "std::vec::Vec", "dead::beef", "Abc::Def", "a::b::c", f"{R.randint(0, 23)}:{R.randint(0, 59):02d}:{R.randint(0, 59):02d}:{R.randint(0, 29):02d}", "face::add(cafe)"),
    "at": lambda: pick("@types/node", "@media screen", f"logo@{pick(2, 3)}x.png", "git@github.com:acme/tool.git", "user@localhost", "@anna on the channel", "foo@", "@example.com",
                       f"{R.choice(FIRST)}@{R.choice(LAST)}", f"react@{R.randint(15, 19)}.{R.randint(0, 9)}.0", "3 apples @ 2.50", "a@b", "x@y.z"),
    "base64": lambda: pick(base64.b64encode(R.randbytes(R.randint(24, 90))).decode(), "data:image/png;base64," + base64.b64encode(R.randbytes(60)).decode(),
                           b64url(b'{"id":%d,"next":"%s"}' % (R.randint(1, 10**6), some(LOWER, 8).encode())), some(BASE64URL, 43) + "." + some(BASE64URL, 20)),
    "dots": lambda: pick("com.example.app.MainActivity", "eyJ.not.token", f"{b64url(b'{}')}.{some(BASE62, 30)}.{some(BASE62, 30)}", b64url(b'{"typ":"note"}') + "." + some(BASE62, 40) + "." + some(BASE62, 43),
                         "foo.bar.baz", "www.example.com", f"{b64url(json.dumps({'page': 2, 'after': some(LOWER, 9)}).encode())}"),
    "not_api_key": not_api_key,
    "ids": lambda: pick(f"IMEI 35{some(DIGITS, 13)}", f"{R.randint(10**17, 10**18 - 1)}", f"EAN 40{some(DIGITS, 11)}", f"VIN WVWZZZ1JZXW{some(DIGITS, 6)}", f"ticket {some(DIGITS, 3)} {some(DIGITS, 2)} {some(DIGITS, 4)}",
                        f"track 1Z{some(UPPER + DIGITS, 16)}", f"UPC {some(DIGITS, 12)}", f"user_{some(DIGITS, 10)}", f"{R.randint(2, 9)}{some(DIGITS, 9)}", f"zip {some(DIGITS, 5)}-{some(DIGITS, 4)}", f"{some(DIGITS, 3)}-{some(DIGITS, 4)}"),
    "lists": lambda: pick(" ".join(str(R.randint(0, 99)) for _ in range(9)), ", ".join(str(R.randint(100, 9999)) for _ in range(6)), "-".join(str(R.randint(1, 99)) for _ in range(5)),
                          "\t".join(str(R.randint(1000, 9999)) for _ in range(4)), " + ".join(str(R.randint(10, 9999)) for _ in range(3)), f"0x{R.getrandbits(64):x}", f"{R.random():.15f}", f"1e{R.randint(3, 99)}"),
}

# ── Lines around them ────────────────────────────────────────────────────────────────────────────────────────────────

CARRIERS = ["{}", "Please check {} for me.", "Is {} right?", "See {}, thanks", "({})", "id: {}", "value={}", "\"{}\"", "'{}'", "Bitte {} prüfen.", "Voici {} pour vous", "{} が問題です",
            "{{\"ref\": \"{}\", \"n\": 1}}", "<b>{}</b>", "- {}", "| 1 | {} | ok |", "2026-11-21 10:00:01 INFO handled {} in 12 ms", "x = \"{}\"  # from the form", "{}; {{}}".replace("{{}}", "done"),
            "a,b,{},d", "El valor es {}.", "const v = `{}`;", "[{}]", "{}?", "last seen: {}.", "--arg={} --dry-run", "> {}", "https://example.com/?q={}", "re: {} / follow-up"]
NAMED = {"email": ["Write to {}.", "From: Anna <{}>", "mailto:{}", "contact={}&x=1", "email: {}"], "phone": ["Call {} today.", "Tel. {}", "tel:{}", "phone: {}", "WhatsApp {} (after 6)"],
         "card": ["My card is {}, exp 09/27.", "card number {}", "PAN={}", "charge {} please"], "iban": ["IBAN: {}", "Überweisung an {} bitte", "to account {}."],
         "ssn": ["SSN: {}", "her social is {}", "ssn={}"], "ip": ["from {} port 22", "host={}", "connect to {}:", "ping {}", "client: {}, server: _"],
         "api_key": ["export KEY={}", "api_key: \"{}\"", "my token is {} ok?", "-H 'x-api-key: {}'"], "jwt": ["Authorization: Bearer {}", "token={}", "cookie: session={};"]}
# A query string or a flag changes what a value with such characters is.
PLAIN_ONLY = ("https://example.com/?q={}",)


def carrier(kind=None):
    forms = CARRIERS + 4 * NAMED.get(kind, [])
    return R.choice([form for form in forms if form not in PLAIN_ONLY or kind in ("email", "ssn", "api_key", "jwt")])


def lines():
    for kind, value in VALUES.items():
        for _ in range(70):
            yield carrier(kind).replace("{{", "{").replace("}}", "}").replace("{}", mark(kind, value()), 1)
    for kind, value in NEGATIVES.items():
        for _ in range(26):
            yield carrier().replace("{{", "{").replace("}}", "}").replace("{}", value(), 1)
    for _ in range(120):
        kinds = R.sample(list(VALUES), 2)
        parts = [mark(kind, VALUES[kind]()) for kind in kinds] + [R.choice(list(NEGATIVES.values()))()]
        R.shuffle(parts)
        yield pick("; ", ", ", " | ", " and ", " -> ").join(parts)


if __name__ == "__main__":
    for line in lines():
        print(line)
