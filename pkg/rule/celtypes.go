package rule

import (
	"fmt"
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// The language's own types, as CEL knows them. They are what the fallback runs
// on; the fast path uses the Go values.
var (
	addrType = types.NewOpaqueType("address")
	netsType = types.NewOpaqueType("networks")

	// netsRuntime tells cel-go's `in` that a set of networks can be asked.
	netsRuntime = types.NewObjectType("networks", traits.ContainerType)
	tagsRuntime = types.NewObjectType("map", traits.ContainerType, traits.IndexerType, traits.SizerType, traits.IterableType)
)

// addrVal is an address inside cel-go.
type addrVal struct{ flow.Addr }

func (a addrVal) ConvertToNative(t reflect.Type) (any, error) {
	if t.Kind() == reflect.String {
		return a.String(), nil
	}
	return nil, fmt.Errorf("an address does not convert to %v", t)
}

func (a addrVal) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.StringType:
		return types.String(a.String())
	case types.TypeType:
		return addrType
	}
	return types.NewErr("an address does not convert to %s", t.TypeName())
}

func (a addrVal) Equal(other ref.Val) ref.Val {
	o, ok := other.(addrVal)
	return types.Bool(ok && o.Addr == a.Addr)
}

func (a addrVal) Type() ref.Type { return addrType }
func (a addrVal) Value() any     { return a.Addr }

// netsVal is a set of networks inside cel-go.
type netsVal struct{ *Nets }

func (n netsVal) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("networks do not convert to %v", t)
}

func (n netsVal) ConvertToType(t ref.Type) ref.Val {
	if t == types.StringType {
		return types.String(n.String())
	}
	return types.NewErr("networks do not convert to %s", t.TypeName())
}

func (n netsVal) Equal(other ref.Val) ref.Val {
	o, ok := other.(netsVal)
	return types.Bool(ok && o.Nets == n.Nets)
}

func (n netsVal) Type() ref.Type { return netsRuntime }
func (n netsVal) Value() any     { return n.Nets }

// Contains answers `address in networks`.
func (n netsVal) Contains(v ref.Val) ref.Val {
	a, ok := v.(addrVal)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	return types.Bool(n.Nets.Contains(a.Addr))
}

// tagsVal is a map of tags in which a missing tag reads as "": that a tag is
// absent is no error of the filter that asks for it.
type tagsVal struct{ traits.Mapper }

func newTags(f *Field, r *Row) tagsVal {
	m := make(map[string]string)
	f.tags(r, func(k, v string) {
		if _, twice := m[k]; !twice {
			m[k] = v
		}
	})
	return tagsVal{types.NewStringStringMap(types.DefaultTypeAdapter, m)}
}

func (t tagsVal) Type() ref.Type { return tagsRuntime }

// Find never misses: see tagsVal.
func (t tagsVal) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := t.Mapper.Find(key); ok {
		return v, true
	}
	if _, ok := key.(types.String); ok {
		return types.String(""), true
	}
	return nil, false
}

// Get is Find for the index operator.
func (t tagsVal) Get(key ref.Val) ref.Val {
	if v, ok := t.Find(key); ok {
		return v
	}
	return types.MaybeNoSuchOverloadErr(key)
}
