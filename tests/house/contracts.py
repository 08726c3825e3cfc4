"""What import-linter does not bring: rooms are entered by their door, and rooms of one wing are strangers.

A *wing* is a package directly under `airboss`; a *room* is what lies directly in a wing, package or module. In a *flat*
wing (a wing that is one room) the wing's package is the door.
"""

from __future__ import annotations

from importlinter import Contract, ContractCheck, fields, output


class Rooms(Contract):
    """Checks each direct import between modules of ours.

    Options (module names without the root):
      flat_wings    wings that are one room: their package is their door
      open_wings    wings whose rooms may import each other (kernel words, the sdk)
      pairs         `wing.room -> wing.room`: neighbours that may; as transitive as you write it
      deep_entries  `importer -> module`: doors besides the package, for whom
    """

    root = fields.StringField()
    flat_wings = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    open_wings = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    pairs = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    deep_entries = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph, verbose):  # noqa: ARG002  # import-linter's signature
        """Return every import that goes through a wall; called by import-linter."""
        faults = []
        for importer in sorted(graph.modules):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if fault := self.fault(importer, imported):
                    lines = graph.get_import_details(importer=importer, imported=imported)
                    faults.append((importer, imported, lines[0]["line_number"] if lines else 0, fault))
        return ContractCheck(kept=not faults, metadata={"faults": faults})

    def render_broken_contract(self, check):
        for importer, imported, line, fault in check.metadata["faults"]:
            output.print_error(f"{importer}:{line} -> {imported}: {fault}", bold=False)
        output.new_line()

    def fault(self, importer, imported):
        """Return what is wrong with one import as a sentence, or None."""
        inner, outer = self._path(imported), self._path(importer)
        if inner is None or outer is None or len(inner) < 2:
            return None
        wing, room = inner[0], self._room(inner)
        if room == self._room(outer):
            return None
        if len(inner) > len(room.split(".")) and not self._is_entry(outer, inner):
            return f"enter by the door, airboss.{room}"
        if wing == outer[0]:
            return self._fault_between_neighbours(wing, room, self._room(outer))
        return None

    def _fault_between_neighbours(self, wing, room, own):
        if wing in self.open_wings or own == wing or f"{own} -> {room}" in self.pairs:
            return None
        return f"{own} and {room} are strangers; facts in the journal, or a pair in pyproject.toml"

    def _is_entry(self, outer, inner):
        entries = [tuple(side.strip() for side in entry.split("->")) for entry in self.deep_entries]
        return any(
            ".".join(outer).startswith(importer) and ".".join(inner).startswith(module) for importer, module in entries
        )

    def _path(self, module):
        parts = module.split(".")
        return parts[1:] if parts[0] == self.root and len(parts) > 1 else None

    def _room(self, path):
        return path[0] if path[0] in self.flat_wings else ".".join(path[:2])
