"""Completions for bash, zsh and fish from the command tables."""

BASH = r"""# bash completion for shardswarm
_shardswarm() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command= word kind=none choices= options
  COMPREPLY=()
  # The command is the first words that are not options, as many as make one.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    case "${command:+$command }$word" in
      @PREFIXES@) command="${command:+$command }$word" ;;
      *) break ;;
    esac
  done
  case $command in
@COMMANDS@
  esac
  options="$options @EVERYWHERE@"
  if [[ $previous == -* && $choices ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
  elif [[ $kind == value ]]; then
    return 0
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ $kind == words ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
  elif [[ $kind == path ]]; then
    compopt -o filenames 2>/dev/null
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -F _shardswarm shardswarm
"""


def next_words(tables, prefix):
    """What may follow the words `prefix` of a command's name."""
    words = {}
    for command in tables.commands:
        name = command.name.split()
        if name[:len(prefix)] == prefix and len(name) > len(prefix):
            last = len(name) == len(prefix) + 1
            words.setdefault(name[len(prefix)], command.summary if last else "")
    return words


def prefixes(tables):
    """The words that begin a command of several: [["key"]]; and [] itself."""
    found = [[]]
    for command in tables.commands:
        name = command.name.split()
        found += [name[:i] for i in range(1, len(name)) if name[:i] not in found]
    return found


def all_names(options):
    return " ".join(name for option in options for name in option.names)


def bash(tables):
    whole = [command.name for command in tables.commands]
    lines = []
    for prefix in prefixes(tables):
        lines += [f"    '{' '.join(prefix)}') kind=words choices='{' '.join(next_words(tables, prefix))}'"
                  f" options='{'' if prefix else '--version'}' ;;"]
    for command in tables.commands:
        lines += [f"    '{command.name}')", f"      options='{all_names(command.options)}'",
                  f"      kind={'path' if command.takes_path else 'none'}", "      case $previous in"]
        for option in [*command.options, *tables.everywhere]:
            if option.value:
                does = (f"kind=words choices='{' '.join(option.choices)}'" if option.choices
                        else "kind=path" if option.takes_path else "kind=value")
                lines += [f"        {'|'.join(option.names)}) {does} ;;"]
        lines += ["      esac ;;"]
    names = "|".join(f"'{name}'" for name in
                     [*(" ".join(prefix) for prefix in prefixes(tables) if prefix), *whole])
    return (BASH.replace("@PREFIXES@", names).replace("@COMMANDS@", "\n".join(lines))
            .replace("@EVERYWHERE@", all_names(tables.everywhere)))


def zsh_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_escaped(text):
    """Inside a specification of _arguments, where these mean something."""
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text


def zsh_option(option):
    value = ""
    if option.value:
        action = (f"({' '.join(option.choices)})" if option.choices
                  else "_files" if option.takes_path else " ")
        value = f":{zsh_escaped(option.value)}:{action}"
    text = f"[{zsh_escaped(option.text)}]{value}"
    if option.repeatable:
        return [zsh_quoted(f"*{name}{text}") for name in option.names]
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    return [zsh_quoted(f"{others}{name}{text}") for name in option.names]


def zsh_arguments(command):
    """A call of _arguments, with the words before the command's last one taken away."""
    depth = len(command.name.split())
    specs = [spec for option in command.options for spec in zsh_option(option)]
    for number, positional in enumerate(command.positionals, 1):
        optional = "" if positional["required"] else ":"
        action = "_files" if positional["path"] else " "
        specs.append(zsh_quoted(f"{number}:{optional}{zsh_escaped(positional['name'])}:{action}"))
    return [f"      shift {depth} words; (( CURRENT -= {depth} ))",
            "      _arguments -s $everywhere \\", *(f"        {spec} \\" for spec in specs[:-1]),
            f"        {specs[-1]} ;;"]


def zsh_describe(tables, prefix):
    words = next_words(tables, prefix).items()
    return ["      described=(", *("        " + zsh_quoted(f"{zsh_escaped(word)}:{summary or 'Commands'}")
                                 for word, summary in words),
            "      )", "      _describe -t commands command described ;;"]


def zsh(tables):
    everywhere = [spec for option in tables.everywhere for spec in zsh_option(option)]
    lines = ["#compdef shardswarm", "# zsh completion for shardswarm", "", "_shardswarm() {",
             "  local -a described everywhere", "  everywhere=(", *("    " + spec for spec in everywhere),
             "  )", "  case \"$CURRENT ${words[2,3]}\" in"]
    for prefix in prefixes(tables):
        pattern = "\\ ".join([str(len(prefix) + 2), *prefix])
        lines += [f"    {pattern}\\ *)", *zsh_describe(tables, prefix)]
    for command in tables.commands:
        pattern = "\\ ".join(command.name.split())
        lines += [f"    *\\ {pattern}|*\\ {pattern}\\ *)", *zsh_arguments(command)]
    return "\n".join([*lines, "  esac", "}", "", '_shardswarm "$@"', ""])


def fish_quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_line(condition, *rest):
    return " ".join(["complete -c shardswarm -n", fish_quoted(condition), *rest])


def fish(tables):
    lines = ["# fish completion for shardswarm", "complete -c shardswarm -f"]
    firsts = next_words(tables, [])
    for word, summary in firsts.items():
        lines += [fish_line("__fish_use_subcommand", "-a", word, "-d", fish_quoted(summary or "Commands"))]
    for command in tables.commands:
        words = command.name.split()
        condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        if len(words) > 1:
            lines += [fish_line(f"__fish_seen_subcommand_from {words[0]}; "
                                f"and not __fish_seen_subcommand_from {words[1]}",
                                "-a", words[1], "-d", fish_quoted(command.summary))]
        if command.takes_path:
            lines += [fish_line(condition, "-F")]
        for option in [*command.options, *tables.everywhere]:
            parts = [*(f"-l {name}" for name in option.long_names),
                     *(f"-s {name}" for name in option.short_names)]
            if option.choices:
                parts += ["-x", "-a", fish_quoted(" ".join(option.choices))]
            elif option.value:
                parts += ["-r -F" if option.takes_path else "-x"]
            lines += [fish_line(condition, *parts, "-d", fish_quoted(option.text))]
    return "\n".join([*lines, ""])


def completions(tables):
    """{path below share/: text}, where each shell looks for it."""
    return {"bash-completion/completions/shardswarm": bash(tables),
            "zsh/vendor-completions/_shardswarm": zsh(tables),
            "fish/vendor_completions.d/shardswarm.fish": fish(tables)}
