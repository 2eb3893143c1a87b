"""No circles: a module never needs one that needs it, not even by way of others or at the first call."""

import grimp


def test_imports_have_no_circles():
    graph = grimp.build_graph("lorem_openmm")
    needs = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := {module for module, others in needs.items() if not others & needs.keys()}:
        for module in free:
            del needs[module]
    assert sorted(needs) == []
