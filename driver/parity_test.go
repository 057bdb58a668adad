package driver

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/stretchr/testify/require"
)

// requireAllSet keeps the tests that read every field from HCL complete: a new
// field, in whatever block, must be in them. Of several values of one type,
// one must have it.
func requireAllSet(t *testing.T, values ...reflect.Value) {
	t.Helper()
	typ := values[0].Type()
	for i := range typ.NumField() {
		var set, inner []reflect.Value
		for _, v := range values {
			if f := v.Field(i); !f.IsZero() {
				set = append(set, f)
				inner = append(inner, elements(f)...)
			}
		}
		require.NotEmptyf(t, set, "%s.%s is not in the test's HCL", typ, typ.Field(i).Name)
		if of := structOf(set[0].Type()); of != nil && of != typ { // a part is a kv_transfer block again
			requireAllSet(t, inner...)
		}
	}
}

// elements are the values that a field holds.
func elements(f reflect.Value) (out []reflect.Value) {
	switch f.Kind() {
	case reflect.Pointer:
		return []reflect.Value{f.Elem()}
	case reflect.Slice:
		for i := range f.Len() {
			out = append(out, f.Index(i))
		}
	case reflect.Map:
		for _, k := range f.MapKeys() {
			out = append(out, f.MapIndex(k))
		}
	default:
		return []reflect.Value{f}
	}
	return out
}

// structOf is the struct that a field holds, one or several times; nil: none.
func structOf(typ reflect.Type) reflect.Type {
	if k := typ.Kind(); k == reflect.Pointer || k == reflect.Slice || k == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return nil
	}
	return typ
}

// What HCL takes is what the structs hold: every key, of the right type, in
// every block. A key that only one side has is lost without a word.
func TestSpecs_haveTheKeysOfTheirStructs(t *testing.T) {
	requireSameKeys(t, "plugin", configSpec(), reflect.TypeFor[Config]())
	requireSameKeys(t, "task", taskConfigSpec(), reflect.TypeFor[TaskConfig]())
}

func requireSameKeys(t *testing.T, path string, spec *hclspec.Spec, typ reflect.Type) {
	t.Helper()
	attrs := spec.GetObject().GetAttributes()
	tags := map[string]reflect.Type{}
	for i := range typ.NumField() {
		tags[typ.Field(i).Tag.Get("codec")] = typ.Field(i).Type
	}
	if path == "task.kv_transfer.part" {
		delete(tags, "part") // parts have none
	}
	require.Equal(t, slices.Sorted(maps.Keys(tags)), slices.Sorted(maps.Keys(attrs)), path)
	for name, field := range tags {
		at := path + "." + name
		nested, kind := shape(attrs[name])
		require.Equal(t, kindOf(field), kind, at)
		if inner := structOf(field); inner != nil {
			requireSameKeys(t, at, nested, inner)
		}
	}
}

// shape is a spec's nested block, or nil, and what it decodes to.
func shape(s *hclspec.Spec) (nested *hclspec.Spec, kind string) {
	switch {
	case s.GetDefault() != nil:
		return shape(s.GetDefault().GetPrimary())
	case s.GetBlockValue() != nil:
		return s.GetBlockValue().GetNested(), "block"
	case s.GetBlockList() != nil:
		return s.GetBlockList().GetNested(), "list of blocks"
	case s.GetBlockMap() != nil:
		return s.GetBlockMap().GetNested(), "blocks by name"
	case s.GetBlockAttrs() != nil:
		return nil, "map of " + s.GetBlockAttrs().GetType()
	}
	return nil, s.GetAttr().GetType()
}

func kindOf(typ reflect.Type) string {
	switch inner := structOf(typ); {
	case inner != nil && typ.Kind() == reflect.Slice:
		return "list of blocks"
	case inner != nil && typ.Kind() == reflect.Map:
		return "blocks by name"
	case inner != nil:
		return "block"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return kindOf(typ.Elem())
	case reflect.Slice:
		return "list(" + kindOf(typ.Elem()) + ")"
	case reflect.Map:
		return "map of " + kindOf(typ.Elem())
	case reflect.Int, reflect.Float64:
		return "number"
	}
	return typ.Kind().String()
}
