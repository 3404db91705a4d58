// Sends messages with Nodemailer, as they are. One JSON object on standard input: `hop` (port, tls, user, password, ca) and
// `envelopes` (from, to, file).
const fs = require("fs");
const nodemailer = require("nodemailer");

async function main() {
    const { hop, envelopes } = JSON.parse(fs.readFileSync(0, "utf8"));
    const transport = nodemailer.createTransport({
        host: "localhost",
        port: hop.port,
        name: "client.test",
        secure: hop.tls === "implicit",
        requireTLS: hop.tls === "starttls",
        ignoreTLS: hop.tls === "none",
        auth: hop.user ? { user: hop.user, pass: hop.password } : undefined,
        tls: { ca: fs.readFileSync(hop.ca) },
        pool: true,
        maxConnections: 4,
    });
    const send = ({ from, to, file }) => transport.sendMail({ envelope: { from, to }, raw: fs.createReadStream(file) });
    const sent = await Promise.allSettled(envelopes.map(send));
    transport.close();
    const failed = sent.find((one) => one.status === "rejected");
    if (failed) throw failed.reason;
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
