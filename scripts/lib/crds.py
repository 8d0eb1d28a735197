"""Usage: crds.py CATALOG MANIFEST…
Writes tests/crds, the schemas of the custom resources that MANIFESTs use, as `scripts/lint-shipping schemas` reads them. CATALOG is a
checkout of https://github.com/datreeio/CRDs-catalog, which has them as the projects publish them.

Kept is what the manifests go through, without its descriptions: at each place that they name, every name that would be right there
and what it must be. What they do not name may be there and is not looked into. So a schema stays small, and a name that is
misspelt is found. `scripts/lint-shipping --crds CATALOG` calls this.
"""

import json
import pathlib
import sys

import yaml

KEPT = ("type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def kept(schema, values):
    """A schema, cut down to what is needed for these values."""
    small = {key: schema[key] for key in KEPT if key in schema}
    if "x-kubernetes-int-or-string" in schema or "x-kubernetes-preserve-unknown-fields" in schema:
        return small
    objects = [value for value in values if isinstance(value, dict)]
    if "properties" in schema:
        small["properties"] = {
            name: kept(inner, found) if (found := [value[name] for value in objects if name in value]) else True
            for name, inner in schema["properties"].items()
        }
        small["required"] = [name for name in schema.get("required", []) if name in small["properties"]]
        small["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        inner = [inner for value in objects for inner in value.values()]
        small["additionalProperties"] = kept(schema["additionalProperties"], inner)
    if "items" in schema:
        small["items"] = kept(schema["items"], [item for value in values if isinstance(value, list) for item in value])
    return small


def main(catalog, *manifests):
    found = {}
    for manifest in manifests:
        for document in yaml.safe_load_all(pathlib.Path(manifest).read_text()):
            if document:
                group, _, version = document["apiVersion"].rpartition("/")
                found.setdefault(f"{group}/{document['kind'].lower()}_{version}.json", []).append(document)
    for name, documents in sorted(found.items()):
        source = pathlib.Path(catalog, name)
        if source.is_file():
            target = pathlib.Path("tests/crds", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            schema = kept(json.loads(source.read_text()), documents)
            # Of these every object has the same, which Kubernetes' own schemas say.
            schema["properties"] |= {"apiVersion": True, "kind": True, "metadata": True}
            target.write_text(json.dumps(schema, indent=1) + "\n")
            print(target)


main(*sys.argv[1:])
