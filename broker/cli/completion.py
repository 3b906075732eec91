"""`completion`: the script a shell loads to complete our commands.

Owns: the choice of shell, and bash's script; click writes the others. Which words fit is asked of the program each time (`broker.cli.options`).
"""

import click

from broker.cli.results import Text

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_CCS_BROKER_COMPLETE"

# Bash takes `gemini/alice@ex` for several words, as `@` is one of its word breaks; click's own script would complete the last piece alone. So the
# words are taken from the line itself, and what bash holds for done is left out of the answers. Nothing of the user's shell is changed.
_BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} current done="" each answer kind value
    local -a words answers
    read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    for each in "@" ":" "="; do
        if [[ $COMP_WORDBREAKS == *"$each"* && $current == *"$each"* ]]; then
            value=${current%%"${current##*"$each"}"}
            [[ $each == "@" ]] && value=${value%%"@"}  # what it breaks at an @ begins with it
            (( ${#value} > ${#done} )) && done=$value
        fi
    done
    mapfile -t answers < <(
        env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1"
    )
    for answer in "${answers[@]}"; do
        IFS=',' read -r kind value <<< "$answer"
        case $kind in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$done"}") ;;
        esac
    done
}

%(complete_func)s_setup() {
    complete -o nosort -F %(complete_func)s %(prog_name)s
}

%(complete_func)s_setup;
"""


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> Text:
    """Print the completion script of a shell.

    For bash: eval "$(ccs-broker completion bash)"
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    script = made(context.find_root().command, {}, "ccs-broker", _VARIABLE)
    if shell == "bash":
        return Text((_BASH % script.source_vars()).rstrip())
    return Text(script.source().rstrip())
