# Completion of lb's command line, by lb itself: it knows the backends of the lb that runs here.
_lb() {
    local line=${COMP_LINE:0:COMP_POINT} words current colons word names=() IFS=$' \t\n'
    # Not COMP_WORDS: the shell cuts 10.0.0.11:8080 in three, and lb has to see one word.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    IFS=$'\n'
    COMPREPLY=($(LB_COMPLETE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) \
        lb -- "${words[@]}" 2>/dev/null)) || COMPREPLY=()
    # Options are offered where nothing else can come, or one is begun.
    if [[ -z $current ]]; then
        for word in "${COMPREPLY[@]}"; do [[ $word == -* ]] || names+=("$word"); done
        ((${#names[@]} == 0)) || COMPREPLY=("${names[@]}")
    fi
    # What the shell replaces begins after the last colon.
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then
        colons=${current%"${current##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$colons"}")
    fi
    [[ ${COMPREPLY-} == */ ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -F _lb lb
