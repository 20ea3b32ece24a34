"""Configuration for ``twistd -y filestored.tac``.

Options come from the environment, written as on the command line:

    FILESTORED_OPTIONS="--listen tcp:9000 --store /srv/files" twistd -y filestored.tac
"""

from twisted.application.service import Application

from filestored.service import Options, makeService

options = Options()
options.parse_environment()

# Saves the memory of TLS if no endpoint uses it. Remove this line when you add a service that uses TLS.
options.owns_process = True

application = Application("filestored")
makeService(options).setServiceParent(application)
