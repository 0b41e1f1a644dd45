# An interpreter with its library and further packages in one tree: it looks for
# both beside itself, wherever the links to itself lead from.
{
  debs,
  system,
  paths,
  base ? [
    debs."python3.11-minimal"
    debs."libpython3.11-minimal"
    debs."libpython3.11-stdlib"
    debs."libpython3-stdlib"
    debs.python3-minimal
    debs."python3.11"
  ],
  name ? "python3-3.11.2",
}:
derivation {
  inherit name system;
  builder = "${debs.bash}/bin/bash";
  args = [
    "-e"
    ./python.sh
  ];
  PATH = "${debs.coreutils}/bin:${debs.findutils}/bin:${debs.sed}/bin:${debs.grep}/bin";
  PYTHONHASHSEED = "0";
  inherit base paths;
}
