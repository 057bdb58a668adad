package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are the loopback ports of one cluster.
type Ports struct {
	ConsulHTTP, ConsulGRPC, ConsulRPC, ConsulSerfLAN, ConsulSerfWAN int
	NomadHTTP, NomadRPC, NomadSerf                                  int
	AutoscalerHTTP                                                  int
	Router                                                          int
	// DynamicMin and DynamicMax bound the ports that Nomad hands to tasks. Two
	// clusters on one machine cannot see each other's, so each takes a range
	// of its own.
	DynamicMin, DynamicMax int
}

// UsualRouterPort is the port that the example job gives the router by default.
const UsualRouterPort = 8000

// usual are the agents' documented default ports, and the router's.
var usual = Ports{
	ConsulHTTP: 8500, ConsulGRPC: 8502, ConsulRPC: 8300, ConsulSerfLAN: 8301, ConsulSerfWAN: 8302,
	NomadHTTP: 4646, NomadRPC: 4647, NomadSerf: 4648,
	AutoscalerHTTP: 8080, Router: UsualRouterPort,
}

// dynamicRange is how many ports Nomad may hand to tasks.
const dynamicRange = 400

// choosePorts takes each usual port if it is free and another one if not.
func choosePorts() (Ports, error) {
	p := usual
	held := &holder{}
	defer held.release()
	for _, port := range []*int{
		&p.ConsulHTTP, &p.ConsulGRPC, &p.ConsulRPC, &p.ConsulSerfLAN, &p.ConsulSerfWAN,
		&p.NomadHTTP, &p.NomadRPC, &p.NomadSerf, &p.AutoscalerHTTP, &p.Router,
	} {
		n, err := held.take(*port)
		if err != nil {
			return Ports{}, err
		}
		*port = n
	}
	// Below Linux's ephemeral range (32768), above the agents' own.
	p.DynamicMin = 20000 + rand.IntN(30)*dynamicRange
	p.DynamicMax = p.DynamicMin + dynamicRange - 1
	return p, nil
}

// holder keeps the chosen ports open until all are chosen, so that the same
// free port is not chosen twice.
type holder struct{ open []net.Listener }

func (h *holder) take(want int) (int, error) {
	// On all addresses: a listener of somebody else's on 0.0.0.0 must count as taken.
	l, err := net.Listen("tcp", ":"+strconv.Itoa(want))
	if err == nil {
		h.open = append(h.open, l)
		return want, nil
	}
	if l, err = net.Listen("tcp", loopback(0)); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	h.open = append(h.open, l)
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (h *holder) release() {
	for _, l := range h.open {
		l.Close()
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
