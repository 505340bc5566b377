"""The cause of a failed request in a few words, found in obstore's long error text."""

import os
import re
from pathlib import Path

KEYS_FROM = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "set GOOGLE_SERVICE_ACCOUNT to a key file, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
}

LOOKED_FOR_KEYS = re.compile(r"/latest/(api/token|meta-data)|computeMetadata")
"""The addresses at which machines of a cloud find their credentials, asked when there are no others."""

CAUSES = {
    "NoSuchBucket": "there is no such bucket",
    "dns error": "there is no such host",
    "ConnectionRefused": "the connection was refused",
    "TimedOut": "there was no answer in time",
    "Timeout": "there was no answer in time",
    "body error": "the answer broke off",
    "InvalidMessage": "what answers there does not speak https; is it http://?",
    "error sending request": "the connection broke off",
    "RangeNotSupported": "the server does not hand out parts of a file; download the zip",
    "MissingContentLength": "the server does not say how long the file is",
}
"""Cause by a sign in obstore's error text; the first sign that the text contains counts."""

CERTIFICATES = {
    "NotValidForName": "is for another host",
    "Expired": "has expired",
    "NotValidYet": "is not valid yet",
    "CaUsedAsEndEntity": "is an authority's own, as `openssl req -x509` makes it; https needs one that an "
    "authority has signed",
}
"""What is wrong with a server's certificate by a sign in the error text."""

CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
UNKNOWN = "is signed by an authority that this machine does not know"
TRUSTED = "SSL_CERT_FILE"
"""Variable that names a file of the certificates to trust; obstore takes no notice of a file that is not there."""

STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
CODE = re.compile(r"<Code>(\w+)</Code>")


def cause_of(account: str, scheme: str) -> str:
    """Return why a request failed, in a few words.

    Parameters
    ----------
    account : the text of obstore's error, debug part included
    scheme : of the URL, such as `s3`
    """
    # First: without credentials obstore asks the cloud's own address, and the time-out of that request would
    # otherwise be told as the cause.
    if LOOKED_FOR_KEYS.search(account):
        return f"no credentials were found; {KEYS_FROM.get(scheme, 'the server asks for some')}"
    if fault := CERTIFICATE.search(account):
        return f"its certificate {_certificate_fault(fault[1], account)}"
    if known := next((text for sign, text in CAUSES.items() if sign in account), None):
        return known
    if status := STATUS.search(account):
        code = CODE.search(account)
        return f"the server answered {status[1].strip()}" + (f" ({code[1]})" if code else "")
    return first_line(account)


def _certificate_fault(name: str, account: str) -> str:
    if name != "UnknownIssuer":
        return next((text for sign, text in CERTIFICATES.items() if sign in account), f"is not valid ({name})")
    if (file := os.environ.get(TRUSTED)) is None:
        return f"{UNKNOWN}; to trust that, name a file of the authority's certificate in {TRUSTED}"
    found = "does not hold that authority's" if Path(file).is_file() else "is not there"
    return f"{UNKNOWN}; {TRUSTED} names {file}, which {found}: name a file of the authority's certificate"


def first_line(account: object) -> str:
    """Return the first line of an error text; the lines after it are debug output."""
    return str(account).partition("\n")[0]
