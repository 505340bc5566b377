"""What obstore's long account of a failed request comes down to, in a few words for the user."""

import re

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
    "UnknownIssuer": "its certificate is signed by an authority that this machine does not know; to trust that, "
    "name a file of the authority's certificate in SSL_CERT_FILE",
    "TimedOut": "there was no answer in time",
    "Timeout": "there was no answer in time",
    "body error": "the answer broke off",
    "error sending request": "the connection broke off",
    "RangeNotSupported": "the server does not hand out parts of a file; download the zip",
    "MissingContentLength": "the server does not say how long the file is",
}
"""What an account means that contains this; the first that fits."""

CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
CODE = re.compile(r"<Code>(\w+)</Code>")


def cause_of(account: str, scheme: str) -> str:
    """Return why a request failed, in a few words.

    Parameters
    ----------
    account : the text of obstore's error, debug part included
    scheme : of the URL, such as `s3`
    """
    if LOOKED_FOR_KEYS.search(account):
        return f"no credentials were found; {KEYS_FROM.get(scheme, 'the server asks for some')}"
    if (fault := CERTIFICATE.search(account)) and fault[1] not in CAUSES:
        return f"its certificate is not valid ({fault[1]})"
    if known := next((text for sign, text in CAUSES.items() if sign in account), None):
        return known
    if status := STATUS.search(account):
        code = CODE.search(account)
        return f"the server answered {status[1].strip()}" + (f" ({code[1]})" if code else "")
    return first_line(account)


def first_line(account: object) -> str:
    """Return the part of an account that is meant to be read."""
    return str(account).partition("\n")[0]
