# Idles with IMAPClient, fetches what comes and passes it on by SMTP.
# The IDLE is ended and begun again every few seconds even if nothing comes.
# usage: imapclient_idle.py PORT USER SMTP-PORT plain
import smtplib
import sys

from imapclient import IMAPClient

port, user, smtp_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with IMAPClient("127.0.0.1", port=port, ssl=False) as client:
    client.login(user, "pw")
    client.select_folder("INBOX")
    while True:
        for uid, mail in client.fetch(client.search("UNSEEN"), ["RFC822"]).items():
            with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
                smtp.sendmail("sink@localhost", ["sink@localhost"], mail[b"RFC822"])
        client.idle()
        client.idle_check(timeout=4)
        client.idle_done()
