"""The other door: ``twistd -y filestored.tac``.

Options come from the environment, as one would write them on the command line:

    FILESTORED_OPTIONS="--listen tcp:9000 --store /srv/files" twistd -y filestored.tac
"""

import os
import shlex

from twisted.application.service import Application

from filestored.daemon import tls
from filestored.service import Options, makeService

options = Options()
options.parseOptions(shlex.split(os.environ.get("FILESTORED_OPTIONS", "")))

# Nobody else lives in this process. Remove this line when you add a service of yours that encrypts.
tls.leave_out(options.settings.listen)

application = Application("filestored")
makeService(options).setServiceParent(application)
