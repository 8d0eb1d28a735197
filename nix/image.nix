# What dockerTools makes the image of. Its dates are dockerTools' constant ones, so the same commit gives the same bits.
{
  pkgs,
  package,
  revision,
}:
let
  inherit (pkgs) lib;
  # Numbers, not names: Kubernetes cannot tell of a name whether it is root.
  user = "65532:65532";
  data = "/var/lib/waybill";
  # Where the Dockerfile's image has it too, so that manifests and scripts fit both.
  binary = "/usr/local/bin/waybill";
  seconds = count: count * 1000 * 1000 * 1000;

  files = pkgs.runCommand "waybill-image-files" { } ''
    mkdir -p $out/etc $out/usr/local/bin
    ln -s ${lib.getExe package} $out${binary}
    echo 'root:x:0:0:root:/:/sbin/nologin' >$out/etc/passwd
    echo 'nonroot:x:65532:65532:nonroot:${data}:/sbin/nologin' >>$out/etc/passwd
    printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >$out/etc/group
    echo 'hosts: files dns' >$out/etc/nsswitch.conf
  '';
in
{
  name = "waybill";
  tag = package.version;
  contents = [
    files
    pkgs.dockerTools.caCertificates
  ];
  # Files stay root's, so that the process cannot change them; these two directories are the ones that it may write to.
  # A fresh volume that is mounted on the second takes over its owner.
  fakeRootCommands = ''
    mkdir -p -m 1777 tmp
    mkdir -p .${data}
    chown ${user} .${data}
    chmod 0700 .${data}
  '';
  config = {
    Entrypoint = [ binary ];
    Cmd = [ "serve" ];
    User = user;
    WorkingDir = data;
    Env = [
      "PATH=${dirOf binary}"
      "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt"
      "WAYBILL__SERVER__LISTEN=0.0.0.0:3000"
      "XDG_STATE_HOME=${data}/.state"
      # Said here and not in the binary, which stays the same from commit to commit.
      "WAYBILL_COMMIT=${revision}"
    ];
    ExposedPorts = {
      "3000/tcp" = { };
      "9090/tcp" = { };
    };
    StopSignal = "SIGTERM";
    Healthcheck = {
      Test = [
        "CMD"
        binary
        "healthcheck"
        "--path"
        "/readyz"
      ];
      Interval = seconds 10;
      Timeout = seconds 5;
      StartPeriod = seconds 30;
      Retries = 3;
    };
    Labels = {
      "org.opencontainers.image.title" = "Waybill";
      "org.opencontainers.image.description" = package.meta.description;
      "org.opencontainers.image.version" = package.version;
      "org.opencontainers.image.revision" = revision;
      "org.opencontainers.image.source" = "https://gitlab.example.com/waybill/waybill";
      "org.opencontainers.image.licenses" = "Apache-2.0";
    };
  };
}
