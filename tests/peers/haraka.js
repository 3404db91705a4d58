// A Haraka plugin: relays for whoever connects, and finds the next hop of a domain in config/interop.json.
exports.register = function () {
    this.hops = this.config.get("interop.json");
    this.register_hook("rcpt", "allow");
    this.register_hook("get_mx", "hop");
};

exports.allow = function (next, connection) {
    connection.relaying = true;
    next(OK);
};

exports.hop = function (next, hmail, domain) {
    next(OK, this.hops[domain]);
};
