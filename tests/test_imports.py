"""No circles: a module never needs one that needs it, not even by way of others or at the first call."""

import grimp


def test_imports_have_no_circles():
    # The package itself tells type checkers of what it imports when asked for.
    graph = grimp.build_graph("lorem_openmm", exclude_type_checking_imports=True)
    needs = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := {module for module, others in needs.items() if not others & needs.keys()}:
        for module in free:
            del needs[module]
    assert sorted(needs) == []
