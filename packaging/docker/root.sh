#!/bin/sh
# Lays out the root file system of the image, without the program itself.
#
#   root.sh PROGRAM DIRECTORY
#
# Takes from the Debian it runs in what PROGRAM needs at run time: the libraries it is linked with,
# CA certificates, and a static busybox as shell. Names of hosts need nothing further: since glibc
# 2.34 the services `files` and `dns` are in the C library itself.
set -eu
program=$1
root=$2

mkdir -p "$root/bin" "$root/etc/ssl/certs" "$root/usr/bin" "$root/var/lib/dpkg/status.d"
mkdir -m 1777 "$root/tmp"
mkdir -m 0700 "$root/data"
chown 65532:65532 "$root/data"

# `ldd` prints "name => path (address)", and for the loader "path (address)".
ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' |
while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -L "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
# Many type `docker exec -it NAME bash`.
printf '#!/bin/sh\nexec /bin/sh "$@"\n' >"$root/bin/bash"
chmod 755 "$root/bin/bash"

cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/:/bin/sh
dingbot:x:65532:65532:dingbot:/data:/bin/sh
END
cat >"$root/etc/group" <<'END'
root:x:0:
dingbot:x:65532:
END
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
cp -L /etc/os-release "$root/etc/os-release"

# What scanners of images read, and the licences that must come along.
for package in libc6 libgcc-s1 ca-certificates busybox-static; do
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
