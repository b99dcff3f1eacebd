package daemon

import (
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"

	"sockql/engine/resultlog"
)

// dmiUUID is where the kernel shows the machine's UUID, to root only
// (Documentation/ABI/testing/sysfs-firmware-dmi-entries and
// drivers/firmware/dmi-id.c).
const dmiUUID = "/sys/class/dmi/id/product_uuid"

// identity returns what names the host in logs. A UUID that is made up is kept
// in the store.
func identity(f *flags, store *resultlog.Store) (func() string, error) {
	hostname := func() string {
		name, err := os.Hostname()
		if err != nil {
			return "localhost"
		}
		return name
	}
	fixed := func(id string, err error) (func() string, error) { return func() string { return id }, err }
	switch f.hostIdentifier {
	case "uuid":
		if text, err := os.ReadFile(dmiUUID); err == nil {
			if id := strings.TrimSpace(string(text)); !placeholder(id) {
				return fixed(id, nil)
			}
		}
		return fixed(kept(store, "host_uuid"))
	case "instance":
		return fixed(kept(store, "instance_uuid"))
	case "ephemeral":
		return fixed(newUUID(), nil)
	case "specified":
		if f.specifiedIdentifier != "" {
			return fixed(f.specifiedIdentifier, nil)
		}
	}
	return hostname, nil
}

// placeholder reports whether a UUID is one that makers of boards leave in.
func placeholder(id string) bool {
	return len(id) != 36 || slices.Contains([]string{
		"00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111",
		"ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009",
		"03020100-0504-0706-0809-0a0b0c0d0e0f", "10000000-0000-8000-0040-000000000000",
	}, strings.ToLower(id))
}

func kept(store *resultlog.Store, name string) (string, error) {
	id, err := store.Setting(name)
	if err != nil || id != "" {
		return id, err
	}
	id = newUUID()
	return id, store.Set(name, id)
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
