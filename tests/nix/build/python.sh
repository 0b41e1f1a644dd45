mkdir -p "$out/bin" "$out/lib/python3/dist-packages" "$out/lib/python3.11" "$out/nix-support"

seen=' '
visit() {
  case $seen in *" $1 "*) return ;; esac
  seen+="$1 "
  local dep
  if [ -e "$1/nix-support/propagated" ]; then
    for dep in $(<"$1/nix-support/propagated"); do visit "$dep"; done
  fi
  # Nearest last, so that what was asked for wins over what came along.
  order+=("$1")
}

order=()
for path in $base $paths; do visit "$path"; done

for path in "${order[@]}"; do
  # Programs of their own only where the tree is about Python.
  for part in lib/python3 lib/python3.11; do
    [ -d "$path/$part" ] || continue
    cp -rs --no-preserve=mode --remove-destination "$path/$part/." "$out/$part/"
  done
done

for path in $base $paths; do
  [ -d "$path/bin" ] || continue
  for program in "$path"/bin/*; do
    ln -sf "$program" "$out/bin/"
  done
done

# Found by following links to the end, the prefix would not be this one.
interpreter=$(readlink -f "$out/bin/python3.11")
rm -f "$out/bin/python3.11"
cp "$interpreter" "$out/bin/python3.11"
for alias in python python3; do ln -sf python3.11 "$out/bin/$alias"; done

# In the store it could not be done on first import. Links keep what was compiled.
if [ ! -d "$out/lib/python3.11/__pycache__" ]; then
  "$out/bin/python3.11" -m compileall -q -q --invalidation-mode unchecked-hash \
    "$out/lib/python3.11" >/dev/null || true
fi

printf '%s\n' $base $paths >"$out/nix-support/propagated"
