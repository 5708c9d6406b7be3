"""From the repository to a running stack, and back. Nothing here is shipped.

interpreter    finds a Python of the Lambda runtime's version
dependencies   installs what the functions need, for the architecture that they run on
template       .chalice/stack/*.yaml and what Chalice generates -> one template
archive        a folder -> a zip that is the same every time
checks         what must hold of an artifact before it is deployed
package        `make package`: all of the above -> build/

account        what the AWS account allows and holds
parameters     the stack's parameters, read and checked
artifacts      the bucket through which code and templates reach CloudFormation
stack          one deployment: its CloudFormation stack
operation      one operation of CloudFormation: its progress, its end, its reasons
changes        what an update would replace or remove
smoke          one picture's life against a deployed API

deploy, rollback, destroy     the `make` commands of those names
maintain                      `make reconcile` and `make rebuild`
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
