package detect

import (
	"bytes"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Fields of the message Place of observation.proto.
const (
	placeAccount = iota + 1
	placeVPC
	placeSubnet
	placeInterface
	placeInstance
	placeTag
	placeRegion
)

// maxPlaceTags bounds the tags of a place.
const maxPlaceTags = 16

// places encodes observation points as places, each once. It is no state: it
// only remembers what it has encoded.
type places map[string]*placed

type placed struct {
	point session.Point
	raw   []byte
}

// maxPlaces bounds what is remembered; then it begins anew.
const maxPlaces = 4096

// of returns the place of a point. The result is not to be changed, and is good
// for as long as something refers to it.
func (m places) of(p *session.Point) *placed {
	x := m[p.ID]
	if x != nil && x.point.AccountID == p.AccountID && x.point.VPCID == p.VPCID && x.point.SubnetID == p.SubnetID &&
		x.point.InstanceID == p.InstanceID && x.point.Region == p.Region && slices.Equal(x.point.Tags, p.Tags) {
		return x
	}
	if len(m) >= maxPlaces {
		clear(m)
	}
	x = &placed{point: session.Point{
		ID: strings.Clone(p.ID), AccountID: strings.Clone(p.AccountID), VPCID: strings.Clone(p.VPCID),
		SubnetID: strings.Clone(p.SubnetID), InstanceID: strings.Clone(p.InstanceID), Region: strings.Clone(p.Region),
	}}
	for _, t := range p.Tags {
		x.point.Tags = append(x.point.Tags, flow.Attr{Name: strings.Clone(t.Name), Value: strings.Clone(t.Value)})
	}
	x.raw = appendPlace(nil, &x.point)
	m[x.point.ID] = x
	return x
}

func appendPlace(b []byte, p *session.Point) []byte {
	b = putBytes(b, placeAccount, p.AccountID)
	b = putBytes(b, placeVPC, p.VPCID)
	b = putBytes(b, placeSubnet, p.SubnetID)
	b = putBytes(b, placeInterface, p.ID)
	b = putBytes(b, placeInstance, p.InstanceID)
	b = putBytes(b, placeRegion, p.Region)
	for _, t := range p.Tags[:min(len(p.Tags), maxPlaceTags)] {
		var body int
		b, body = openMessage(b, placeTag)
		b = closeMessage(putBytes(putBytes(b, 1, t.Name), 2, t.Value), body)
	}
	return b
}

// contextOf reads a place; what can not be read says nothing.
func contextOf(b []byte) (c alert.Context) {
	err := each(b, func(n num, _ uint64, s []byte) error {
		switch n {
		case placeAccount:
			c.AccountID = string(s)
		case placeVPC:
			c.VPCID = string(s)
		case placeSubnet:
			c.SubnetID = string(s)
		case placeInterface:
			c.InterfaceID = string(s)
		case placeInstance:
			c.InstanceID = string(s)
		case placeRegion:
			c.Region = string(s)
		case placeTag:
			var t flow.Attr
			err := each(s, func(n num, _ uint64, s []byte) error {
				switch n {
				case 1:
					t.Name = string(s)
				case 2:
					t.Value = string(s)
				}
				return nil
			})
			c.Tags = append(c.Tags, t)
			return err
		}
		return nil
	})
	if err != nil {
		return alert.Context{}
	}
	return c
}

// isAt notes that a part's sessions were seen at a place, which must never
// change: a copy for each part was a tenth of what combine allocated. Of several the
// smallest by its bytes is kept, so that the order does not matter.
func (p *Part) isAt(x *placed) {
	if x != nil {
		p.placeAt(x.raw)
	}
}

func (p *Part) placeAt(place []byte) {
	if len(place) > 0 && (len(p.place) == 0 || bytes.Compare(place, p.place) < 0) {
		p.place = place
	}
}

// placeOf returns the place of the end that is ours and belongs to an entity:
// its own, or, of a stranger, that of the host of ours at the other end.
func (v *view) placeOf(client bool) *placed {
	near := client
	if client && !v.clientOurs || !client && !v.serverOurs {
		near = !client
	}
	for i := range v.Points {
		p := &v.Points[i]
		at := p.NearServer
		if near != v.reversed {
			at = p.NearClient
		}
		if at {
			return v.places.of(p)
		}
	}
	return nil
}
