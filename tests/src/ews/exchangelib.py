# Logs in to the mailbox of anna as exchangelib does; the script behind it looks around.
import os, signal
# Whatever hangs ends here, and is told by the test.
signal.alarm(120)
from exchangelib import Account, BASIC, Build, Configuration, Credentials, IMPERSONATION, NTLM, Version
from exchangelib.protocol import BaseProtocol, NoVerifyHTTPAdapter

BaseProtocol.HTTP_ADAPTER_CLS = NoVerifyHTTPAdapter
BaseProtocol.TIMEOUT = 20
auth = {"basic": BASIC, "ntlm": NTLM}[os.environ["EWS_AUTH"]]
credentials = Credentials(os.environ["EWS_USER"], os.environ["EWS_PASSWORD"])
config = Configuration(service_endpoint=os.environ["EWS_URL"], credentials=credentials, auth_type=auth,
                       version=Version(build=Build(15, 1, 2507, 6)), max_connections=1)
account = Account("anna@example.com", config=config, autodiscover=False, access_type=IMPERSONATION)
