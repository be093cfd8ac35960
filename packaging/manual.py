"""Man pages from the command tables: shardswarm(1), and shardswarm-fetch(1) and so on."""

import textwrap

EXIT_STATUS = (
    ("0", "Done. A seed that was told to stop has done its work, too."),
    ("1", "Failed: a file cannot be read or written, or input is malformed."),
    ("2", "The command line is wrong, or the model cannot satisfy the selection."),
    ("3", "No peer can be reached, or nothing came for the stall timeout. Run it again to resume."),
    ("4", "What is on the disk, or what came, is not what it should be."),
    ("5", "There is no space left. Nothing is lost; run it again to resume."),
    ("6", "Another process uses the directory, or it holds something else."),
    ("7", "The peer has another cluster key, or only one side has a key."),
    ("130, 143", "Interrupted by SIGINT or SIGTERM. Run it again to resume."))

ENVIRONMENT = (
    ("SHARDSWARM_KEY", "The file of the cluster key, where --key is not given."),
    ("XDG_CONFIG_HOME", "The cluster key is looked for in shardswarm/cluster.key below it "
                        "(default: ~/.config)."),
    ("XDG_STATE_HOME", "What is known of the models on this machine is kept in shardswarm/ below it "
                       "(default: ~/.local/state)."))

DESCRIPTION = """shardswarm brings LLM checkpoints to the machines that run them. Each machine names \
the tensors that it needs: layers, a pipeline stage, experts, or everything. It fetches them from all \
peers at once and serves what it has to the others. Each piece is checked by SHA-256 before it is \
written or served."""


def escaped(text):
    """Text as roff prints it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join("\\&" + line if line.startswith(".") else line for line in text.split("\n"))


def filled(text):
    return escaped(textwrap.fill(text, 90, break_long_words=False, break_on_hyphens=False)).split("\n")


def paragraphs(texts):
    """Paragraphs behind a heading, which stands for the first one's macro."""
    lines = []
    for text in texts:
        lines += [*([".PP"] if lines else []), *filled(text)]
    return lines


def term(head, text):
    """A tagged paragraph; `head` is roff already."""
    return [".TP", head, *filled(text)]


def sentence(text):
    return text if text.endswith((".", "!", "?")) else text + "."


def option_terms(options):
    lines = []
    for option in options:
        head = ", ".join(f"\\fB{escaped(name)}\\fR" for name in option.names)
        if option.value:
            head += f" \\fI{escaped(option.value)}\\fR"
        text = sentence(option.text)
        if option.choices and not all(choice in option.text for choice in option.choices):
            text += " One of " + ", ".join(option.choices) + "."
        if option.repeatable:
            text += " It may be given several times."
        lines += term(head, text)
    return lines


def examples(entries):
    lines = []
    for entry in entries:
        lines += [".PP" if lines else ".SH EXAMPLES", escaped(sentence(entry["text"])), ".PP", ".RS 4",
                  ".nf", escaped(entry["command"]), ".fi", ".RE"]
    return lines


def header(name, tables, date):
    return [f'.TH "{escaped(name.upper())}" 1 "{date}" "shardswarm {tables.version}" "User Commands"']


def synopsis(command):
    words = [f"\\fBshardswarm {escaped(command.name)}\\fR", "[\\fIOPTIONS\\fR]"]
    for positional in command.positionals:
        name = f"\\fI{escaped(positional['name'])}\\fR"
        words.append(name if positional["required"] else f"[{name}]")
    return " ".join(words)


def command_page(command, tables, date):
    lines = header(command.page, tables, date)
    lines += [".SH NAME", f"{escaped(command.page)} \\- {escaped(command.summary)}"]
    lines += [".SH SYNOPSIS", synopsis(command)]
    lines += [".SH DESCRIPTION", *paragraphs([sentence(command.summary),
                                              *filter(None, command.text.split("\n\n"))])]
    if command.positionals:
        lines += [".SH ARGUMENTS"]
        for positional in command.positionals:
            lines += term(f"\\fI{escaped(positional['name'])}\\fR", sentence(positional["text"]))
    lines += [".SH OPTIONS"]
    groups = {}
    for option in command.options:
        groups.setdefault(option.group, []).append(option)
    for group, options in groups.items():
        lines += [f'.SS "{escaped(group)}"'] if group else []
        lines += option_terms(options)
    lines += ['.SS "Of every command"', *option_terms(tables.everywhere)]
    lines += examples(command.examples)
    return lines + [".SH SEE ALSO", "\\fBshardswarm\\fR(1), which lists the exit status"]


def overview_page(tables, date):
    lines = header("shardswarm", tables, date)
    lines += [".SH NAME", "shardswarm \\- bring LLM checkpoints to the machines that run them"]
    lines += [".SH SYNOPSIS", "\\fBshardswarm\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]"]
    lines += [".SH DESCRIPTION", *paragraphs([DESCRIPTION]), ".SH COMMANDS"]
    for command in tables.commands:
        lines += term(f"\\fB{escaped(command.name)}\\fR",
                      f"{sentence(command.summary)} See {command.page}(1).")
    lines += [".SH OPTIONS", *option_terms(tables.everywhere)]
    lines += term("\\fB\\-\\-version\\fR", "Print the version, the commit and the libraries.")
    lines += [".SH EXIT STATUS"]
    for code, text in EXIT_STATUS:
        lines += term(f"\\fB{code}\\fR", text)
    lines += [".SH ENVIRONMENT"]
    for name, text in ENVIRONMENT:
        lines += term(f"\\fB{escaped(name)}\\fR", text)
    return lines + [".SH SEE ALSO", ", ".join(f"\\fB{escaped(command.page)}\\fR(1)"
                                              for command in tables.commands)]


def pages(tables, date):
    """{file name: text} of all pages; `date` as "2026-11-30"."""
    made = {"shardswarm.1": overview_page(tables, date)}
    for command in tables.commands:
        made[command.page + ".1"] = command_page(command, tables, date)
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}
