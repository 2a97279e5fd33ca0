// Idles with imapflow, fetches what comes and passes it on by SMTP.
// usage: imapflow.js MODULES PORT USER SMTP-PORT tls|plain
const [modules, port, user, smtpPort, security] = process.argv.slice(2);
const { ImapFlow } = require(modules + '/imapflow');
const net = require('net');

function deliver(source) {
    return new Promise((resolve, reject) => {
        const stream = net.connect(Number(smtpPort), '127.0.0.1');
        stream.on('close', resolve).on('error', reject).resume();
        stream.write('HELO client\r\nMAIL FROM:<>\r\nRCPT TO:<sink@localhost>\r\nDATA\r\n');
        stream.write(source);
        stream.write('\r\n.\r\nQUIT\r\n');
    });
}

async function main() {
    const client = new ImapFlow({
        host: '127.0.0.1',
        port: Number(port),
        secure: security === 'tls',
        tls: { rejectUnauthorized: false },
        auth: { user, pass: 'pw' },
        logger: false,
    });
    await client.connect();
    await client.mailboxOpen('INBOX');
    let fetched = 0;
    for (;;) {
        while (fetched < client.mailbox.exists) {
            const mail = await client.fetchOne(String(fetched + 1), { source: true });
            await deliver(mail.source);
            fetched += 1;
        }
        const news = new Promise((resolve) => client.once('exists', resolve));
        const idle = client.idle();
        await news;
        // Any command ends the IDLE.
        await client.noop();
        await idle;
    }
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
