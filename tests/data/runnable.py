"""Files that a desktop runs after a double click, and texts that only look like such files."""

import codecs
from typing import Final

from tests.data import images


def _utf16(text: str) -> bytes:
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")


_PLIST = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    ' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n<dict>\n'
)
_SHORTCUT = bytes.fromhex("4C0000000114020000000000C000000000000046") + bytes(60)

BY_BYTES: Final[dict[str, tuple[bytes, str]]] = {
    "url": (b"[InternetShortcut]\r\nURL=file://host/share/x.exe\r\n", "application/x-mswinurl"),
    "url-after-a-comment": (
        b"; a comment\r\n\r\n[InternetShortcut]\r\nIDList=\r\nURL=https://a.example/\r\n",
        "application/x-mswinurl",
    ),
    "url-with-guid-first": (
        b"[{000214A0-0000-0000-C000-000000000046}]\r\nProp3=19,2\r\n"
        b"[InternetShortcut]\r\nIDList=\r\nURL=https://a.example/\r\n",
        "application/x-mswinurl",
    ),
    "url-of-a-page-in-frames": (
        b"[DEFAULT]\r\nBASEURL=https://a.example/\r\n[InternetShortcut]\r\nURL=https://b.example/\r\n",
        "application/x-mswinurl",
    ),
    "wsh": (
        b"[ScriptFile]\r\nPath=C:\\a.vbs\r\n[Options]\r\nTimeout=0\r\n",
        "application/x-windows-script",
    ),
    "scf": (
        b"[Shell]\r\nCommand=2\r\nIconFile=\\\\host\\share\\a.ico\r\n",
        "application/x-ms-shell-command",
    ),
    "lnk": (_SHORTCUT, "application/x-ms-shortcut"),
    "reg": (
        _utf16("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\X]\r\n"),
        "text/x-ms-regedit",
    ),
    "reg-of-1995": (b"REGEDIT4\r\n\r\n[HKEY_CLASSES_ROOT\\.x]\r\n", "text/x-ms-regedit"),
    "desktop": (b"# a\n[Desktop Entry]\nExec=rm -rf ~\n", "application/x-desktop"),
    "kdelnk": (b"# KDE Config File\n[KDE Desktop Entry]\nExec=x\n", "application/x-desktop"),
    "bat": (images.BATCH, "text/x-msdos-batch"),
    "cmd-in-capitals": (b"@ECHO OFF\r\nstart calc\r\n", "text/x-msdos-batch"),
    "bat-after-comments": (
        b":: a\r\n:: b\r\n\r\nREM c\r\n@echo off\r\nstart calc\r\n",
        "text/x-msdos-batch",
    ),
    "hta": (
        b"<html><head><HTA:APPLICATION id='a'/><script>x()</script></head></html>",
        "application/hta",
    ),
    "vbe": (b"#@~^DQAAAA==\x7f.b2D 2^tKPEJQQAAA==^#~@", "application/x-vbscript-encoded"),
    "wsf": (
        b'<?xml version="1.0"?>\n<job id="a"><script language="JScript">x()</script></job>',
        "application/x-windows-script",
    ),
    "wsf-of-several": (
        b'<package><job id="a"><script language="VBScript">x</script></job></package>',
        "application/x-windows-script",
    ),
    "sct": (b"<?XML version='1.0'?><scriptlet><registration/></scriptlet>", "text/scriptlet"),
    "msc": (
        b'<?xml version="1.0"?>\n<MMC_ConsoleFile ConsoleVersion="3.0"/>',
        "application/x-ms-console",
    ),
    "settingcontent-ms": (
        b'<?xml version="1.0"?><PCSettings><SearchableContent xmlns="http://x"/></PCSettings>',
        "application/x-ms-settings-shortcut",
    ),
    "library-ms": (
        b'<?xml version="1.0"?><libraryDescription xmlns="http://x"></libraryDescription>',
        "application/x-ms-library",
    ),
    "theme": (
        b"; a\r\n[Theme]\r\nDisplayName=a\r\n[VisualStyles]\r\nPath=x\r\n",
        "application/x-ms-theme",
    ),
    "application": (
        b'<?xml version="1.0"?><asmv1:assembly xmlns:asmv1="urn:x"><deployment install="true"/>'
        b"</asmv1:assembly>",
        "application/x-ms-application",
    ),
    "appref-ms": (
        _utf16("http://a.example/a.application#a.application, Culture=neutral"),
        "application/x-ms-application",
    ),
    "appinstaller": (
        b'<?xml version="1.0"?><AppInstaller Uri="http://x" Version="1.0.0.0"/>',
        "application/x-ms-appinstaller",
    ),
    "chm": (b"ITSF\x03\0\0\0" + bytes(100), "application/vnd.ms-htmlhelp"),
    "webloc": (
        f"{_PLIST}\t<key>URL</key>\n\t<string>https://a.example</string></dict></plist>".encode(),
        "application/x-apple-location",
    ),
    "mobileconfig": (
        f"{_PLIST}<key>PayloadType</key><string>Configuration</string></dict></plist>".encode(),
        "application/x-apple-aspen-config",
    ),
    "terminal": (
        f"{_PLIST}<key>CommandString</key><string>rm -rf ~</string></dict></plist>".encode(),
        "application/x-apple-terminal-settings",
    ),
    "pkg": (b"xar!\0\x1c\0\x01" + bytes(60), "application/x-xar"),
    "crx": (b"Cr24\3\0\0\0" + bytes(60), "application/x-chrome-extension"),
    "snap": (b"hsqs" + bytes(92), "application/vnd.snap"),
    "flatpakref": (b"[Flatpak Ref]\nName=a\nUrl=https://x\n", "application/vnd.flatpak.ref"),
    "exe": (images.PE, "application/x-dosexec"),
    "elf": (images.ELF, "application/x-executable"),
}
"""Files by name: their bytes and their type.

The type is reserved, so each file is rejected under every file name.
"""

INNOCENT: Final[dict[str, tuple[bytes, str]]] = {
    "notes about shortcuts": (b"Begin the file with\n[InternetShortcut]\nURL=...\n", "notes.txt"),
    "notes about the registry": (b"See: Windows Registry Editor Version 5.00\n", "notes.txt"),
    "an ini file": (b"[core]\nname = x\n[Desktop Entry]\n", "settings.ini"),
    "an ini file with defaults": (b"[DEFAULT]\nname = x\n", "defaults.ini"),
    "a shell section": (b"[Shell]\nprompt = $\n", "shell.ini"),
    # A search that reads the rest of the file at each line break does not end in time.
    **{
        f"[{group}] and line breaks": (f"[{group}]".encode() + b"\n" * 65_000, "blank.ini")
        for group in ("Shell", "Theme", "DEFAULT")
    },
    "javascript": (b"const a = 1;\nconsole.log(a);\n", "a.js"),
    "python": (b"import os\nprint(os.name)\n", "a.py"),
    "shell": (b"#!/bin/sh\necho hello\n", "a.sh"),
    "bash": (b"#!/usr/bin/env bash\nset -e\n", "install.bash"),
    "powershell": (b"Write-Host 'hello'\r\n", "a.ps1"),
    "perl": (b"#!/usr/bin/perl\nprint 1;\n", "a.pl"),
    "ruby": (b"puts 1\n", "a.rb"),
    "a page": (b"<!doctype html><p>about &lt;HTA:APPLICATION&gt;</p>", "a.html"),
    "an XML of jobs": (b'<?xml version="1.0"?><job><name>a</name></job>', "jobs.xml"),
    "a manifest": (b'<?xml version="1.0"?><assembly><trustInfo/></assembly>', "app.manifest"),
    "a property list": (
        f"{_PLIST}<key>Name</key><string>a</string><key>URL</key><string>b</string></dict></plist>".encode(),
        "info.plist",
    ),
}
"""Files that people share, by description: bytes and file name. None of them may be rejected."""
