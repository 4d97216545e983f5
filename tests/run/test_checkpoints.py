from sparsemeta.run import newest, prune, step_folders


def test_checkpoints_are_ordered_by_step_and_pruned(tmp_path):
    assert newest(tmp_path / "absent") is None
    for name in ("step-999999", "step-1000000", "step-000002", "step-x", ".step-000003.0-x.part"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path) == tmp_path / "step-1000000"
    prune(tmp_path, keep=2)
    assert [p.name for p in step_folders(tmp_path)] == ["step-999999", "step-1000000"]
    assert not (tmp_path / ".step-000003.0-x.part").exists()
    prune(tmp_path, keep=3)
    assert len(step_folders(tmp_path)) == 2
    prune(tmp_path, keep=0)
    assert newest(tmp_path) is None
