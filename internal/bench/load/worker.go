package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// workerEnv tells a program that it is a worker, and which one.
const workerEnv = "SOCKLOAD_WORKER"

type job struct {
	Index   int // tells the workers of one load apart
	Sockets int
}

// answer is what a worker writes to its standard output once its sockets are
// there, or could not be made.
type answer struct {
	Mix   Mix
	Error string
}

// Worker makes and holds sockets if this process was started for that, and then
// does not return. Each program that calls [Start] calls it first of all.
func Worker() {
	env, ok := os.LookupEnv(workerEnv)
	if !ok {
		return
	}
	os.Exit(work(env))
}

func work(env string) int {
	var j job
	var a answer
	err := json.Unmarshal([]byte(env), &j)
	if err == nil {
		a.Mix, err = populate(j)
	}
	if err != nil {
		a.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil || a.Error != "" {
		return 1
	}
	// The other end is closed when the parent ends, however it does.
	var b [1]byte
	for {
		if _, err := unix.Read(unix.Stdin, b[:]); !errors.Is(err, unix.EINTR) {
			return 0
		}
	}
}

// populate makes the sockets of one worker and leaves them open.
func populate(j job) (Mix, error) {
	if err := raiseDescriptors(j.Sockets); err != nil {
		return Mix{}, err
	}
	probe, err := bound(unix.AF_INET6, unix.SOCK_DGRAM, loopback6())
	if err == nil {
		unix.Close(probe)
	}
	mix := mixOf(j.Sockets, err == nil)
	for _, part := range []struct {
		of        string
		family    int
		address   unix.Sockaddr
		listening int
		connected int
		udp       int
	}{
		{"IPv4", unix.AF_INET, loopback4(j.Index), mix.TCPListen4, mix.TCPConnected4, mix.UDP4},
		{"IPv6", unix.AF_INET6, loopback6(), mix.TCPListen6, mix.TCPConnected6, mix.UDP6},
	} {
		if err := populateTCP(part.family, part.address, part.listening, part.connected); err != nil {
			return mix, fmt.Errorf("%s: tcp: %w", part.of, err)
		}
		for range part.udp {
			if _, err := bound(part.family, unix.SOCK_DGRAM, part.address); err != nil {
				return mix, fmt.Errorf("%s: udp: %w", part.of, err)
			}
		}
	}
	if err := populateUnix(mix); err != nil {
		return mix, fmt.Errorf("unix: %w", err)
	}
	return mix, nil
}

func raiseDescriptors(sockets int) error {
	want := uint64(sockets + spareDescriptors)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	if limit.Cur >= want {
		return nil
	}
	limit.Cur, limit.Max = want, max(limit.Max, want)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of descriptors: raise to %d: %w", want, err)
	}
	return nil
}

// loopback4 is the worker's own address, so that ports do not run out.
func loopback4(index int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, byte(1 + index/62500), byte(index / 250 % 250), byte(1 + index%250)}}
}

func loopback6() *unix.SockaddrInet6 { return &unix.SockaddrInet6{Addr: [16]byte{15: 1}} }

func newSocket(family, kind int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

func bound(family, kind int, address unix.Sockaddr) (int, error) {
	fd, err := newSocket(family, kind)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, address); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind: %w", err)
	}
	return fd, nil
}

func populateTCP(family int, address unix.Sockaddr, listening, connected int) error {
	var listeners []int
	for range listening {
		fd, err := bound(family, unix.SOCK_STREAM, address)
		if err != nil {
			return err
		}
		if err := unix.Listen(fd, 128); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		listeners = append(listeners, fd)
	}
	for i := range connected / 2 {
		if err := connect(family, listeners[i%len(listeners)]); err != nil {
			return err
		}
	}
	return nil
}

// connect makes both ends of a connection. They end with a reset, which leaves
// nothing in TIME_WAIT.
func connect(family, listener int) error {
	to, err := unix.Getsockname(listener)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	client, err := newSocket(family, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("linger: %w", err)
	}
	if err := unix.Connect(client, to); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return nil
}

func populateUnix(m Mix) error {
	for i := range m.UnixListen {
		name := fmt.Sprintf("@sockload/%d/%d", os.Getpid(), i)
		fd, err := bound(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: name})
		if err != nil {
			return err
		}
		if err := unix.Listen(fd, 16); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	for kind, n := range map[int]int{unix.SOCK_STREAM: m.UnixStream, unix.SOCK_DGRAM: m.UnixDatagram} {
		for range n / 2 {
			if _, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0); err != nil {
				return fmt.Errorf("pair: %w", err)
			}
		}
	}
	return nil
}
