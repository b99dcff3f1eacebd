package sockdiag

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// perHolder is how many sockets a process holds: few enough for the usual
// limits on descriptors.
const perHolder = 8000

// populate makes n sockets in the mix of a busy host: half of them connected
// TCP, a fifth UDP, the rest UNIX pairs, and a few listeners. Processes in the
// namespace hold them.
func populate(b *testing.B, n int) *kerneltest.Namespace {
	b.Helper()
	ns := kerneltest.NewNamespace(b)
	for i := 0; n > 0; i++ {
		batch := crowd{b: b, number: byte(i)}
		ns.Do(b, func() { batch.make(min(n, perHolder)) })
		kerneltest.Hold(b, ns, batch.socks...)
		for _, s := range batch.socks {
			s.Close()
		}
		n -= perHolder
	}
	return ns
}

// A crowd is the sockets of one holder.
type crowd struct {
	b      *testing.B
	number byte
	socks  []*kerneltest.Sock
}

func (c *crowd) check(err error) {
	if err != nil {
		c.b.Fatal(err)
	}
}

func (c *crowd) add(fd int, err error) int {
	c.check(err)
	c.socks = append(c.socks, kerneltest.Adopt(c.b, fd))
	return fd
}

func (c *crowd) socket(family, typ int) int {
	return c.add(unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0))
}

func (c *crowd) make(n int) {
	const perListener = 500
	var listener int
	var to unix.Sockaddr
	for i := range n / 4 {
		if i%perListener == 0 {
			listener = c.socket(unix.AF_INET, unix.SOCK_STREAM)
			c.check(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 1 + c.number, byte(i / perListener), 1}}))
			c.check(unix.Listen(listener, 16))
			var err error
			to, err = unix.Getsockname(listener)
			c.check(err)
		}
		c.check(unix.Connect(c.socket(unix.AF_INET, unix.SOCK_STREAM), to))
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		c.add(fd, err)
	}
	for i := range n / 5 {
		fd := c.socket(unix.AF_INET, unix.SOCK_DGRAM)
		c.check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 100 + c.number, byte(i / 250), byte(1 + i%250)}}))
	}
	for i := range n * 3 / 20 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		c.add(pair[0], err)
		c.add(pair[1], nil)
		if i%4 == 0 {
			c.check(unix.Bind(pair[0], &unix.SockaddrUnix{Name: fmt.Sprintf("@bench/%d/%d", c.number, i)}))
		}
	}
}

func BenchmarkDump(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("sockets=%d", n), func(b *testing.B) {
			c := open(b, populate(b, n))
			for _, bench := range []struct {
				name string
				req  func(*socket.Request)
			}{
				{"all/fields=osquery", func(r *socket.Request) {
					r.Fields = socket.FieldFamily | socket.FieldProtocol | socket.FieldState | socket.FieldAddresses | socket.FieldPath | socket.FieldNetns
				}},
				{"all/fields=all", func(*socket.Request) {}},
				{"tcp", func(r *socket.Request) { r.Kinds, r.Fields = socket.TCP4|socket.TCP6, 0 }},
				{"tcp4 alone and tcp6 alone", func(r *socket.Request) { r.Kinds, r.Fields = socket.TCP4|socket.TCP6, 0 }},
				{"listeners", func(r *socket.Request) {
					r.Kinds, r.Fields, r.States = socket.TCP4|socket.TCP6, 0, 1<<socket.StateListen
				}},
				{"remote port", func(r *socket.Request) {
					r.Kinds, r.Fields = socket.TCP4|socket.TCP6, 0
					r.RemotePorts = socket.Ports{Restricted: true, Lo: 443, Hi: 443}
				}},
			} {
				b.Run(bench.name, func(b *testing.B) {
					req := everything(Kinds)
					bench.req(&req)
					passes := []socket.Kind{req.Kinds}
					if bench.name == "tcp4 alone and tcp6 alone" {
						passes = []socket.Kind{socket.TCP4, socket.TCP6}
					}
					rows := 0
					b.ReportAllocs()
					for b.Loop() {
						rows = 0
						for _, kinds := range passes {
							req.Kinds = kinds
							if _, err := c.Dump(context.Background(), &req, nil, func(*socket.Socket) bool { rows++; return true }); err != nil {
								b.Fatal(err)
							}
						}
					}
					b.ReportMetric(float64(rows), "rows")
					if rows > 0 {
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
					}
				})
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, payload := range map[string][]byte{"tcp": corpus[0], "unix": corpus[1]} {
		b.Run(name, func(b *testing.B) {
			l := &lists[0]
			if name == "unix" {
				l = &lists[15]
			}
			var s socket.Socket
			b.ReportAllocs()
			for b.Loop() {
				l.decode(l, payload, socket.AllFields, &s)
			}
		})
	}
}
