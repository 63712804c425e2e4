"""The keywords of ssh_config(5), and what becomes of each."""

from __future__ import annotations

from typing import Final

#: What they used to be called.
ALIASES: Final = {
    "identityfile2": "identityfile",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "dsaauthentication": "pubkeyauthentication",
    "keepalive": "tcpkeepalive",
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
}

#: The rest of the line belongs to these as it stands.
WHOLE_LINE: Final = frozenset(
    ("proxycommand", "proxyjump", "localcommand", "remotecommand", "knownhostscommand")
)

#: Each further one adds a value; of all others the first one counts.
ACCUMULATING: Final = frozenset(("identityfile", "certificatefile"))

#: Those that take more than one word.
SEVERAL_WORDS: Final = frozenset(("setenv", "userknownhostsfile", "globalknownhostsfile"))

#: What is acted on, here or by the client.
USED: Final = frozenset(
    (
        *("addressfamily", "bindaddress", "canonicalizehostname", "certificatefile", "ciphers"),
        *("compression", "connecttimeout", "forwardagent", "globalknownhostsfile", "host"),
        *("hostkeyalgorithms", "hostkeyalias", "hostname", "identitiesonly", "identityagent"),
        *("identityfile", "ignoreunknown", "include", "kexalgorithms", "macs", "match", "port"),
        *("proxycommand", "proxyjump", "pubkeyacceptedalgorithms", "requesttty"),
        *("serveralivecountmax", "serveraliveinterval", "setenv", "stricthostkeychecking", "tag"),
        *("user", "userknownhostsfile"),
    )
)

#: What OpenSSH knows besides, in this or that version, on this or that system.
OTHERS: Final = frozenset(
    (
        *("addkeystoagent", "afstokenpassing", "batchmode", "bindinterface"),
        *("canonicaldomains", "canonicalizefallbacklocal", "canonicalizemaxdots"),
        *("canonicalizepermittedcnames", "casignaturealgorithms", "channeltimeout", "checkhostip"),
        *("cipher", "clearallforwardings", "compressionlevel", "connectionattempts"),
        *("controlmaster", "controlpath", "controlpersist", "dynamicforward"),
        *("enableescapecommandline", "enablesshkeysign", "escapechar", "exitonforwardfailure"),
        *("fallbacktorsh", "fingerprinthash", "forkafterauthentication", "forwardx11"),
        *("forwardx11timeout", "forwardx11trusted", "gatewayports", "globalknownhostsfile2"),
        *("gssapiauthentication", "gssapiclientidentity", "gssapidelegatecredentials"),
        *("gssapikexalgorithms", "gssapikeyexchange", "gssapirenewalforcesrekey"),
        *("gssapiserveridentity", "gssapitrustdns", "hashknownhosts"),
        *("hostbasedacceptedalgorithms", "hostbasedauthentication", "ipqos"),
        *("kbdinteractiveauthentication", "kbdinteractivedevices", "kerberosauthentication"),
        *("kerberostgtpassing", "knownhostscommand", "localcommand", "localforward", "loglevel"),
        *("logverbose", "nohostauthenticationforlocalhost", "numberofpasswordprompts"),
        *("obscurekeystroketiming", "passwordauthentication", "permitlocalcommand"),
        *("permitremoteopen", "pkcs11provider", "preferredauthentications", "protocol"),
        *("protocolkeepalives", "proxyusefdpass", "pubkeyauthentication", "refuseconnection"),
        *("rekeylimit", "remotecommand", "remoteforward", "requiredrsasize", "revokedhostkeys"),
        *("rhostsauthentication", "rhostsrsaauthentication", "rsaauthentication"),
        *("securitykeyprovider", "sendenv", "sessiontype", "setuptimeout", "smartcarddevice"),
        *("stdinnull", "streamlocalbindmask", "streamlocalbindunlink", "syslogfacility"),
        *("tcpkeepalive", "tunnel", "tunneldevice", "updatehostkeys", "useblacklistedkeys"),
        *("usekeychain", "useprivilegedport", "userknownhostsfile2", "useroaming", "usersh"),
        *("verifyhostkeydns", "versionaddendum", "visualhostkey", "warnweakcrypto"),
        "xauthlocation",
    )
)

KNOWN: Final = USED | OTHERS | ALIASES.keys()
