package processes

import (
	"strings"

	"sockql/tables/internal/procfs"
)

// containerID returns the container that the innermost part of a cgroup path
// names. Runtimes name the cgroup after the container, alone or as a scope of
// systemd with their own name in front: docker/ID, docker-ID.scope,
// crio-ID.scope, cri-containerd-ID.scope, libpod-ID.scope, lxc.payload.NAME.
func containerID(groups []procfs.Cgroup) string {
	for _, g := range groups {
		parts := strings.Split(g.Path, "/")
		for i := len(parts) - 1; i > 0; i-- {
			if id := containerOf(parts[i]); id != "" {
				return id
			}
		}
	}
	return ""
}

const (
	containerDigits = 64 // of a container's identifier: 32 random bytes
	taskDigits      = 32 // of an ECS task's, which a hyphen and a number follow
)

func containerOf(part string) string {
	if name, ok := strings.CutPrefix(part, "lxc.payload."); ok {
		return name
	}
	part = strings.TrimSuffix(part, ".scope")
	if len(part) > taskDigits && part[taskDigits] == '-' && isHex(part[:taskDigits]) && isDecimal(part[taskDigits+1:]) {
		return part
	}
	// crio-conmon-ID.scope holds the monitor, which is outside.
	if strings.Contains(part, "conmon-") {
		return ""
	}
	if i := len(part) - containerDigits; i == 0 || i > 0 && (part[i-1] == '-' || part[i-1] == ':') {
		if id := part[i:]; isHex(id) {
			return id
		}
	}
	return ""
}

// podUID returns the pod that a cgroup path names: podUID with the cgroupfs
// driver of the kubelet, kubepods-CLASS-podUID.slice with hyphens written as
// underscores with the one of systemd.
func podUID(groups []procfs.Cgroup) string {
	for _, g := range groups {
		for part := range strings.SplitSeq(g.Path, "/") {
			part, slice := strings.CutSuffix(part, ".slice")
			if slice && !strings.Contains(part, "kubepods-") {
				continue
			}
			if slice {
				part = part[strings.LastIndexByte(part, '-')+1:]
			}
			uid, ok := strings.CutPrefix(part, "pod")
			if !ok {
				continue
			}
			uid = strings.ReplaceAll(uid, "_", "-")
			if isUUID(uid) || len(uid) == 32 && isHex(uid) { // 32 digits name a static pod
				return uid
			}
		}
	}
	return ""
}

// systemdUnit returns the unit that a cgroup path names: the first part that
// is no slice (systemd's CGROUP_DELEGATION document; sd_pid_get_unit(3)). A
// process of a user's own systemd belongs to the unit of that.
func systemdUnit(groups []procfs.Cgroup) string {
	for _, g := range groups {
		if g.Hierarchy != 0 && g.Controllers != "name=systemd" {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(g.Path, "/"), "/") {
			if strings.HasSuffix(part, ".slice") {
				continue
			}
			if unit := strings.TrimPrefix(part, "_"); isUnit(unit) { // _ keeps a name from one of the kernel's
				return unit
			}
			break
		}
	}
	return ""
}

// isUnit reports whether a name is that of a unit that has processes.
func isUnit(name string) bool {
	for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount", ".swap"} {
		if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

func isDecimal(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// isUUID reports whether a text has the form of RFC 9562, in small letters.
func isUUID(s string) bool {
	groups := strings.Split(s, "-")
	if len(groups) != 5 {
		return false
	}
	for i, digits := range [...]int{8, 4, 4, 4, 12} {
		if len(groups[i]) != digits || !isHex(groups[i]) {
			return false
		}
	}
	return true
}
