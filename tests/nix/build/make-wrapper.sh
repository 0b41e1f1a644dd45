# makeWrapper EXECUTABLE OUT_PATH ARGS: write a script that starts EXECUTABLE
# in the environment and with the flags ARGS ask for.
makeWrapper() {
  local original=$1 wrapper=$2 argv0='"$0"' before='' flags='' after='' separator value
  shift 2
  if [ ! -x "$original" ] || [ -d "$original" ]; then
    echo "makeWrapper: $original is not an executable file" >&2
    return 1
  fi
  while [ $# -gt 0 ]; do
    case $1 in
      --set)
        printf -v value 'export %s=%q\n' "$2" "$3"
        before+=$value
        shift 3
        ;;
      --set-default)
        printf -v value 'export %s=${%s-%q}\n' "$2" "$2" "$3"
        before+=$value
        shift 3
        ;;
      --unset)
        before+="unset $2"$'\n'
        shift 2
        ;;
      --prefix)
        printf -v value '_wrap_first %s %q %q\n' "$2" "$3" "$4"
        before+=$value
        shift 4
        ;;
      --suffix)
        printf -v value '_wrap_last %s %q %q\n' "$2" "$3" "$4"
        before+=$value
        shift 4
        ;;
      --prefix-each | --suffix-each)
        local direction=${1%-each} variable=$2
        separator=$3
        for value in $4; do set -- "$@" "$direction" "$variable" "$separator" "$value"; done
        shift 4
        ;;
      --run)
        before+="$2"$'\n'
        shift 2
        ;;
      --chdir)
        printf -v value 'cd %q\n' "$2"
        before+=$value
        shift 2
        ;;
      # Unquoted on purpose: both are shell text that may hold several flags.
      --add-flags)
        flags+=" $2"
        shift 2
        ;;
      --append-flags)
        after+=" $2"
        shift 2
        ;;
      --add-flag)
        printf -v value ' %q' "$2"
        flags+=$value
        shift 2
        ;;
      --append-flag)
        printf -v value ' %q' "$2"
        after+=$value
        shift 2
        ;;
      --argv0)
        printf -v argv0 %q "$2"
        shift 2
        ;;
      --inherit-argv0)
        argv0='"$0"'
        shift
        ;;
      --resolve-argv0) shift ;;
      *)
        echo "makeWrapper: unknown argument $1" >&2
        return 1
        ;;
    esac
  done
  mkdir -p "$(dirname "$wrapper")"
  # Once created it may replace what it starts, which a wrapProgram has moved.
  rm -f "$wrapper"
  {
    echo '#! @shell@ -e'
    if [[ $before == *_wrap_* ]]; then
      cat <<'FUNCTIONS'
_wrap_first() { case "$2${!1-}$2" in *"$2$3$2"*) ;; *) export "$1=$3${!1:+$2${!1}}" ;; esac; }
_wrap_last() { case "$2${!1-}$2" in *"$2$3$2"*) ;; *) export "$1=${!1:+${!1}$2}$3" ;; esac; }
FUNCTIONS
    fi
    printf '%s' "$before"
    printf 'exec -a %s %q %s "$@" %s\n' "$argv0" "$original" "$flags" "$after"
  } >"$wrapper"
  chmod +x "$wrapper"
}

makeShellWrapper() { makeWrapper "$@"; }

# wrapProgram PROGRAM ARGS: put a wrapper where PROGRAM is.
wrapProgram() {
  local program=$1 hidden
  hidden=$(dirname "$program")/.$(basename "$program")-wrapped
  while [ -e "$hidden" ]; do hidden+=_; done
  mv "$program" "$hidden"
  makeWrapper "$hidden" "$program" "${@:2}"
}

wrapProgramShell() { wrapProgram "$@"; }
