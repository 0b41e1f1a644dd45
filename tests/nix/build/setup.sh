# Sourced by every build: the phases, their hooks, and what they may use.

shopt -s inherit_errexit
set -eu -o pipefail

# What a derivation gives as a list: an array with structured attributes, words without.
_list() {
  local -n _source=$1
  if [[ "$(declare -p "$1" 2>/dev/null)" == "declare -a"* ]]; then
    _words=("${_source[@]}")
  else
    local IFS=$' \t\n'
    set -f
    _words=(${_source-})
    set +f
  fi
}

if [ -n "${NIX_ATTRS_SH_FILE:-}" ]; then
  for _output in "${!outputs[@]}"; do
    export "$_output=${outputs[$_output]}"
  done
  if [[ "$(declare -p env 2>/dev/null)" == "declare -A"* ]]; then
    for _name in "${!env[@]}"; do export "$_name=${env[$_name]}"; done
  fi
fi
export out=${out-}

export PATH=
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800} LC_ALL=C TZ=UTC
export HOME=${HOME:-/homeless-shelter} CONFIG_SHELL=$SHELL
export NIX_BUILD_CORES=${NIX_BUILD_CORES:-1}
prefix=${prefix-$out}

addToSearchPath() {
  local -n _variable=$1
  if [ -d "$2" ]; then export "$1=${_variable:+$_variable:}$2"; fi
}

_hooks=()
_add() {
  local dep
  # Already there, or there by way of something else.
  case " ${_added-} " in *" $1 "*) return ;; esac
  _added+=" $1"
  addToSearchPath PATH "$1/bin"
  if [ -e "$1/nix-support/propagated-build-inputs" ]; then
    for dep in $(<"$1/nix-support/propagated-build-inputs"); do _add "$dep"; done
  fi
  if [ -e "$1/nix-support/setup-hook" ]; then _hooks+=("$1/nix-support/setup-hook"); fi
}

for _kind in nativeBuildInputs buildInputs propagatedBuildInputs; do
  _list "$_kind"
  for _dep in "${_words[@]}"; do _add "$_dep"; done
done
for _dep in $initialPath; do _add "$_dep"; done

# Run NAMEs of a hook: the variable's code or the function of that name, then
# those that setup hooks have added to NAMEHooks.
runHook() {
  local hook
  if declare -F "$1" >/dev/null; then
    "$1"
  elif [ -n "${!1-}" ]; then
    eval "${!1}"
  fi
  local -n _registered=${1}Hooks
  for hook in "${_registered[@]-}"; do
    if [ -n "$hook" ]; then "$hook"; fi
  done
}

substituteInPlace() {
  local files=() file content old new
  while [ $# -gt 0 ] && [[ $1 != --* ]]; do
    files+=("$1")
    shift
  done
  for file in "${files[@]}"; do _substitute "$file" "$file" "$@"; done
}

substitute() { _substitute "$@"; }

substituteAll() {
  local names=() name
  for name in $(compgen -e); do
    [[ $name =~ ^[a-z][A-Za-z0-9_]*$ ]] && names+=(--subst-var "$name")
  done
  _substitute "$1" "$2" "${names[@]}"
}

_substitute() {
  local input=$1 output=$2 content old new must
  shift 2
  # A command substitution would take the file's own trailing newlines with it.
  content=$(cat "$input" && printf x)
  content=${content%x}
  while [ $# -gt 0 ]; do
    must=
    case $1 in
      --replace-fail) old=$2 new=$3 must=1; shift 3 ;;
      --replace | --replace-warn | --replace-quiet) old=$2 new=$3; shift 3 ;;
      --subst-var) old=@$2@ new=${!2}; shift 2 ;;
      --subst-var-by) old=@$2@ new=$3; shift 3 ;;
      *) echo "substitute: unknown option $1" >&2; return 1 ;;
    esac
    if [ -n "$must" ] && [[ $content != *"$old"* ]]; then
      echo "substitute: $input has no $old" >&2
      return 1
    fi
    content=${content//"$old"/"$new"}
  done
  printf '%s' "$content" >"$output"
}

patchShebangs() {
  local path file line program rest
  for path in "$@"; do
    [[ $path == --* ]] && continue
    while IFS= read -r -d '' file; do
      IFS= read -r line <"$file" 2>/dev/null || continue
      [[ $line =~ ^#!\ *(/usr/bin/env\ +(-S\ +)?)?([^\ ]+)(.*)$ ]] || continue
      [[ ${BASH_REMATCH[3]} == "$NIX_STORE"/* ]] && continue
      rest=${BASH_REMATCH[4]}
      program=$(type -P "${BASH_REMATCH[3]##*/}") || continue
      chmod u+w "$file"
      sed -i "1s|.*|#!$program$rest|" "$file"
    done < <(find "$path" -type f -perm -0100 -print0)
  done
}

stripHash() {
  local name=${1##*/}
  if [[ $name =~ ^[a-z0-9]{32}- ]]; then name=${name:33}; fi
  printf '%s' "$name"
}

unpackFile() {
  local name
  name=$(stripHash "$1")
  if [ -d "$1" ]; then
    cp -r --no-preserve=mode,ownership --reflink=auto "$1" "$name"
    # Only the executable bit means anything in a store path.
    (cd "$1" && find . -type f -perm -0100 -print0) | (cd "$name" && xargs -0 -r chmod +x)
    return
  fi
  case $1 in
    *.tar | *.tar.* | *.tgz) tar -xf "$1" --mode=+w --warning=no-timestamp ;;
    *) cp --no-preserve=mode "$1" "$name" ;;
  esac
}

unpackPhase() {
  runHook preUnpack
  local file directory before
  _list srcs
  local files=("${_words[@]}")
  if [ ${#files[@]} -eq 0 ]; then
    if [ -z "${src-}" ]; then
      echo "variable \$src or \$srcs should point to the source" >&2
      return 1
    fi
    files=("$src")
  fi
  before=" $(echo */) "
  for file in "${files[@]}"; do unpackFile "$file"; done
  if [ -n "${setSourceRoot-}" ]; then
    runHook setSourceRoot
  elif [ -z "${sourceRoot-}" ]; then
    for directory in */; do
      [[ $before == *" $directory "* ]] || sourceRoot=${directory%/}
    done
  fi
  if [ -z "${sourceRoot-}" ]; then
    echo "unpacker appears to have produced no directories" >&2
    return 1
  fi
  chmod -R u+w -- "$sourceRoot"
  runHook postUnpack
}

patchPhase() {
  runHook prePatch
  local file
  _list patches
  for file in "${_words[@]}"; do patch -p1 <"$file"; done
  runHook postPatch
}

configurePhase() {
  runHook preConfigure
  runHook postConfigure
}

buildPhase() {
  runHook preBuild
  if [ -e Makefile ] || [ -n "${makefile-}" ]; then make; fi
  runHook postBuild
}

checkPhase() {
  runHook preCheck
  runHook postCheck
}

installPhase() {
  runHook preInstall
  if [ -e Makefile ]; then make install "PREFIX=$prefix"; fi
  runHook postInstall
}

fixupPhase() {
  runHook preFixup
  local output name
  for name in $(_outputNames); do
    output=${!name}
    if [ -z "${dontPatchShebangs-}" ] && [ -d "$output" ]; then patchShebangs "$output"; fi
  done
  _list propagatedBuildInputs
  if [ ${#_words[@]} -gt 0 ]; then
    mkdir -p "$out/nix-support"
    echo "${_words[*]}" >"$out/nix-support/propagated-build-inputs"
  fi
  if [ -n "${setupHook-}" ]; then
    mkdir -p "$out/nix-support"
    _substitute "$setupHook" "$out/nix-support/setup-hook"
  fi
  runHook postFixup
}

installCheckPhase() {
  runHook preInstallCheck
  runHook postInstallCheck
}

distPhase() {
  runHook preDist
  runHook postDist
}

_outputNames() {
  if [ -n "${NIX_ATTRS_SH_FILE:-}" ]; then echo "${!outputs[@]}"; else echo "${outputs-out}"; fi
}

runPhase() {
  local skip
  case $1 in
    checkPhase) [ -n "${doCheck-}" ] || return 0 ;;
    installCheckPhase) [ -n "${doInstallCheck-}" ] || return 0 ;;
    distPhase) [ -n "${doDist-}" ] || return 0 ;;
    *)
      skip=dont${1^}
      skip=${skip%Phase}
      [ -z "${!skip-}" ] || return 0
      ;;
  esac
  # The derivation's own code for a phase comes before the function.
  if [ -n "${!1-}" ]; then eval "${!1}"; else "$1"; fi
  if [ "$1" = unpackPhase ] && [ -n "${sourceRoot-}" ]; then cd -- "$sourceRoot"; fi
}

genericBuild() {
  local phase
  if [ -n "${buildCommandPath-}" ]; then
    source "$buildCommandPath"
    return
  fi
  if [ -n "${buildCommand-}" ]; then
    eval "$buildCommand"
    return
  fi
  _list phases
  if [ ${#_words[@]} -eq 0 ]; then
    _words=(unpackPhase patchPhase configurePhase buildPhase checkPhase installPhase fixupPhase
      installCheckPhase distPhase)
  fi
  local all=("${_words[@]}")
  for phase in "${all[@]}"; do runPhase "$phase"; done
}

for _hook in "${_hooks[@]}"; do source "$_hook"; done
set +u
runHook preHook
runHook postHook
