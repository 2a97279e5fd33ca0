# Idles with aioimaplib, fetches what comes and passes it on by SMTP.
# usage: aioimaplib_idle.py PORT USER SMTP-PORT tls|plain
import asyncio
import smtplib
import ssl
import sys

import aioimaplib

port, user, smtp_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


async def fetch_new(client):
    numbers = (await client.search("UNSEEN")).lines[0].split()
    for number in numbers:
        mail = (await client.fetch(number.decode(), "(RFC822)")).lines[1]
        with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
            smtp.sendmail("sink@localhost", ["sink@localhost"], bytes(mail))


async def main():
    if sys.argv[4] == "tls":
        client = aioimaplib.IMAP4_SSL(host="127.0.0.1", port=port, ssl_context=context)
    else:
        client = aioimaplib.IMAP4(host="127.0.0.1", port=port)
    await client.wait_hello_from_server()
    await client.login(user, "pw")
    await client.select("INBOX")
    while True:
        await fetch_new(client)
        idle = await client.idle_start(timeout=120)
        pushed = []
        while not any(b"EXISTS" in line for line in pushed):
            pushed = await client.wait_server_push()
        client.idle_done()
        await asyncio.wait_for(idle, 10)


asyncio.run(main())
