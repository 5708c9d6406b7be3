"""From the repository to a running stack, and back. Nothing here is shipped.

interpreter    finds a Python of the Lambda runtime's version
dependencies   installs what the functions need, for the architecture that they run on
template       .chalice/stack/*.yaml and what Chalice generates -> one template
archive        a folder -> a zip that is the same every time
checks         what must hold of an artifact before anybody gets it
package        `make package`: all of the above -> build/

cloud          CloudFormation and the buckets
deploy         `make deploy`
destroy        `make destroy`
maintain       `make reconcile` and `make rebuild`
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"

RUNTIME = (3, 13)
"""The Python of the Lambda runtime."""
ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Lambda's name of an architecture -> Linux's, as wheels and `uname -m` spell it."""


class UserError(Exception):
    """A command cannot do what it was asked to; the message is one sentence for the user."""
