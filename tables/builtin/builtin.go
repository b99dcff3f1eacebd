// Package builtin lists the tables that sockql comes with and wires them to
// their sources.
//
// It needs no privilege; each table says what it needs in its schema. The
// tables are safe for concurrent use.
package builtin

import (
	"time"

	"sockql/tables"
	"sockql/tables/files"
	"sockql/tables/internal/procfs"
	"sockql/tables/network"
	"sockql/tables/processes"
	"sockql/tables/sockets"
	"sockql/tables/system"
)

// defaultProc is where a Linux host mounts its procfs (proc(5)).
const defaultProc = "/proc"

// defaultCgroup is where a host mounts its cgroup v2 hierarchy (cgroups(7)).
const defaultCgroup = "/sys/fs/cgroup"

// defaultSys is where a Linux host mounts its sysfs (sysfs(5)).
const defaultSys = "/sys"

// A Config says what the tables read. The zero value stands for this host.
type Config struct {
	// Proc is the mount point of a procfs, or a recorded tree. Empty stands for
	// the host's own.
	Proc string
	// Source is where sockets come from: "auto", "bpf", "netlink" or "procfs".
	// Empty stands for "auto".
	Source string
	// CgroupRoot is the mount point of the cgroup v2 hierarchy. Empty stands
	// for the host's own.
	CgroupRoot string
	// Root is the directory that stands for the root directory in the tables
	// of files. Empty stands for the root directory.
	Root string
	// HashLimit is the size in bytes beyond which the table hash leaves a file
	// out. Zero stands for osquery's 50 MiB, a negative number for no limit.
	HashLimit int64
	// Now is the clock. Nil stands for the system's.
	Now func() time.Time
}

// Tables returns the tables, in the order of their names. The procfs stays
// open for as long as the process lives.
//
// It fails if Proc is neither a procfs nor a recorded tree, and if there is no
// such Source.
func Tables(c Config) ([]tables.Table, error) {
	c = c.withDefaults()
	proc, err := procfs.Open(c.Proc)
	if err != nil {
		return nil, err
	}
	list, err := all(c, proc)
	if err != nil {
		proc.Close()
		return nil, err
	}
	return list, nil
}

func (c Config) withDefaults() Config {
	if c.Proc == "" {
		c.Proc = defaultProc
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = defaultCgroup
	}
	return c
}

func all(c Config, proc *procfs.FS) ([]tables.Table, error) {
	host, err := sockets.New(sockets.Config{Proc: proc, Sys: defaultSys, Source: sockets.Source(c.Source), CgroupRoot: c.CgroupRoot})
	if err != nil {
		return nil, err
	}
	var list []tables.Table
	etc := system.Config{Root: c.Root, Proc: proc}
	links := network.Config{Proc: proc, Sys: defaultSys}
	disk := files.Config{Root: c.Root, Proc: proc, HashLimit: c.HashLimit}
	for _, table := range []func() (tables.Table, error){
		func() (tables.Table, error) { return network.ARPCache(links) },
		func() (tables.Table, error) { return system.DNSResolvers(etc) },
		func() (tables.Table, error) { return system.EtcHosts(etc) },
		func() (tables.Table, error) { return system.EtcProtocols(etc) },
		func() (tables.Table, error) { return system.EtcServices(etc) },
		func() (tables.Table, error) { return files.ExtendedAttributes(disk) },
		func() (tables.Table, error) { return files.File(disk) },
		func() (tables.Table, error) { return system.Groups(etc) },
		func() (tables.Table, error) { return files.Hash(disk) },
		func() (tables.Table, error) { return network.InterfaceAddresses(links) },
		func() (tables.Table, error) { return network.InterfaceDetails(links) },
		func() (tables.Table, error) { return network.InterfaceIPv6(links) },
		func() (tables.Table, error) { return network.InterfaceStatistics(links) },
		func() (tables.Table, error) { return network.IPTables(links) },
		func() (tables.Table, error) { return system.KernelModules(etc) },
		host.ListeningPorts,
		func() (tables.Table, error) { return files.Mounts(disk) },
		func() (tables.Table, error) { return network.MulticastGroups(links) },
		host.NetworkNamespaces,
		func() (tables.Table, error) { return network.NFTablesRules(links) },
		func() (tables.Table, error) { return processes.ProcessEnvs(proc) },
		func() (tables.Table, error) { return processes.ProcessMemoryMap(proc) },
		func() (tables.Table, error) { return processes.ProcessNamespaces(proc) },
		func() (tables.Table, error) { return processes.ProcessOpenFiles(proc) },
		func() (tables.Table, error) { return processes.ProcessOpenPipes(proc) },
		host.ProcessOpenSockets,
		func() (tables.Table, error) { return processes.Processes(proc) },
		func() (tables.Table, error) { return network.ProtocolCounters(links) },
		func() (tables.Table, error) { return network.Routes(links) },
		host.SocketStates,
		func() (tables.Table, error) { return files.SuidBin(disk) },
		sockets.TCPStates,
		func() (tables.Table, error) { return system.Time(c.Now) },
		func() (tables.Table, error) { return system.Uptime(etc) },
		func() (tables.Table, error) { return system.Users(etc) },
	} {
		t, err := table()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}
