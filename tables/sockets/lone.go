package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sockql/tables"
	"sockql/tables/internal/bpfiter"
	"sockql/tables/internal/netns"
	"sockql/tables/internal/socket"
)

// maxWays bounds the descriptors that are tried as ways into one namespace: the
// process of the first may have ended meanwhile.
const maxWays = 8

// addLone adds the namespaces that are about to be listed but that nothing
// leads to but a socket: no process lives in them and no mount keeps them. The
// kernel tells the numbers, so that descriptors are gone over only if there are
// such. They have to be known before the lists are read. Connections says that
// the table of connections is asked next.
func (p *pass) addLone(ctx context.Context, connections bool) error {
	c := p.collector
	if err := c.listProcesses(ctx); err != nil {
		return err
	}
	wanted, err := p.loneNumbers(connections)
	if err != nil || len(wanted) == 0 {
		return err
	}
	request := socket.Everything()
	request.Fields, request.Namespaces = socket.FieldNetns, wanted
	ways := map[uint64][]missing{}
	err = p.source.Scan(ctx, &request, func(s *socket.Socket, _ bpfiter.ID) bool {
		// Longer lists than the kernel takes do not narrow the scan.
		if c.byInode[s.Netns] == nil && p.question.wantsNetns(s.Netns) && s.Known&socket.FieldNetns != 0 && len(ways[s.Netns]) < maxWays {
			ways[s.Netns] = append(ways[s.Netns], missing{s.PID, held{inode: s.Inode, fd: s.FD, tid: s.TID}})
		}
		return true
	})
	if err != nil {
		return err
	}
	t := task{pidfd: -1}
	defer t.close()
	for inode, descriptors := range ways {
		if err := c.enterLone(inode, descriptors, &t); err != nil {
			return err
		}
	}
	return nil
}

// loneNumbers returns the numbers of namespaces that a question is about and
// that are not known yet.
func (p *pass) loneNumbers(connections bool) ([]uint64, error) {
	var next *socket.Request
	if connections {
		request := p.question.descriptors()
		next = &request
	}
	list, err := p.source.Namespaces(next)
	if errors.Is(err, tables.ErrUnavailable) {
		return nil, nil // a kernel whose list is not where we look for it
	}
	if err != nil {
		return nil, err
	}
	var lone []uint64
	for _, ns := range list {
		if p.collector.byInode[ns.Inode] == nil && p.question.wantsNetns(ns.Inode) {
			lone = append(lone, ns.Inode)
		}
	}
	return lone, nil
}

// enterLone makes a namespace known through one of the descriptors.
func (c *collector) enterLone(inode uint64, descriptors []missing, t *task) error {
	refused := false
	for _, m := range descriptors {
		found, h, gone, err := c.inspect(m, t)
		switch {
		case err != nil:
			return err
		case gone:
			continue
		case h == nil || found != inode:
			refused = true
			if h != nil {
				h.Close()
			}
			continue
		}
		c.keepLone(inode, h)
		return nil
	}
	if refused {
		c.warn(fmt.Errorf("sockets: network namespaces that only a socket keeps: %w: what nobody holds there is missing without CAP_SYS_PTRACE and CAP_NET_ADMIN", fs.ErrPermission))
	}
	return nil
}

// keepLone notes a namespace that a socket led to. The handle stays open.
func (c *collector) keepLone(inode uint64, h *netns.Handle) *space {
	sp := c.foundSpace(inode, h)
	sp.handle, sp.held = h, true
	return sp
}
