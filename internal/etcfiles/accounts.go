package etcfiles

import (
	"io"
	"strconv"
	"strings"
)

// A User is a line of passwd(5).
type User struct {
	Name        string
	UID, GID    uint32
	Description string // the GECOS field
	Directory   string
	Shell       string
}

// Users parses passwd(5). The references to other databases that a line
// beginning with + or - makes (nsswitch.conf(5), compat) are no users.
func Users(r io.Reader, yield func(*User) bool) error {
	var u User
	return lines(r, func(line string) bool {
		f := strings.SplitN(line, ":", 8)
		if len(f) < 4 || reference(f[0]) {
			return true
		}
		uid, uidErr := strconv.ParseUint(f[2], 10, 32)
		gid, gidErr := strconv.ParseUint(f[3], 10, 32)
		if uidErr != nil || gidErr != nil {
			return true
		}
		f = append(f, "", "", "")
		u = User{Name: f[0], UID: uint32(uid), GID: uint32(gid), Description: f[4], Directory: f[5], Shell: f[6]}
		return yield(&u)
	})
}

// A Group is a line of group(5).
type Group struct {
	Name    string
	GID     uint32
	Members []string // names of users; valid until the next row
}

// Groups parses group(5), without references to other databases.
func Groups(r io.Reader, yield func(*Group) bool) error {
	var g Group
	return lines(r, func(line string) bool {
		f := strings.SplitN(line, ":", 5)
		if len(f) < 3 || reference(f[0]) {
			return true
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return true
		}
		g.Name, g.GID, g.Members = f[0], uint32(gid), g.Members[:0]
		if len(f) > 3 {
			for name := range strings.SplitSeq(f[3], ",") {
				if name = strings.Trim(name, blank); name != "" {
					g.Members = append(g.Members, name)
				}
			}
		}
		return yield(&g)
	})
}

func reference(name string) bool { return name == "" || name[0] == '+' || name[0] == '-' }
